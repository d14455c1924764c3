"""Does the suite catch what it is for? Wrong backends, and the matrix of which check catches which."""
