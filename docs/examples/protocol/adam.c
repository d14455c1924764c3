/* Adam as a program that refopt drives: cc -ffp-contract=off adam.c -o adam -lm, refopt verify --exec ./adam
   It reads no JSON but what it needs of refopt's lines, whose members come in the order of docs/protocol.md. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAVES = 256 };
static struct { char shape[64]; int size; double *w, *m, *v; } leaf[LEAVES];
static int leaves;

static double number(const char *line, const char *name, double missing) {
    const char *at = strstr(line, name);
    return at ? strtod(at + strlen(name), NULL) : missing;
}

/* The elements of the next array after *line, which moves on: C's own hex floats, each in quotes. */
static double *elements(const char **line, int *size) {
    double *found = malloc(sizeof *found * (strlen(*line) / 4 + 1));
    const char *at = strstr(*line, "\"hex\":[") + strlen("\"hex\":[");
    for (*size = 0; *at != ']'; at = strchr(at + 1, '"') + 1, at += *at == ',')
        found[(*size)++] = strtod(at + 1, NULL);
    *line = at;
    return found;
}

static void init(const char *line) {
    for (leaves = 0; leaves < LEAVES && (line = strstr(line, "\"shape\":")); leaves++) {
        snprintf(leaf[leaves].shape, sizeof leaf->shape, "%.*s", (int)strcspn(line, "]") + 1, line);
        leaf[leaves].w = elements(&line, &leaf[leaves].size);
        leaf[leaves].m = calloc(leaf[leaves].size + 1, sizeof(double));
        leaf[leaves].v = calloc(leaf[leaves].size + 1, sizeof(double));
    }
}

static void step(const char *line) {
    double t = number(line, "\"t\":", 1), lr = number(line, "\"lr\":", 0.001), eps = number(line, "\"eps\":", 1e-8);
    double beta1 = number(line, "\"beta1\":", 0.9), beta2 = number(line, "\"beta2\":", 0.999);
    line = strstr(line, "\"grads\":");
    for (int k = 0, size; k < leaves; k++) {
        double *g = elements(&line, &size), *w = leaf[k].w, *m = leaf[k].m, *v = leaf[k].v;
        for (int i = 0; i < size; i++) {
            m[i] = beta1 * m[i] + (1 - beta1) * g[i];
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
            w[i] -= lr * (m[i] / (1 - pow(beta1, t))) / (sqrt(v[i] / (1 - pow(beta2, t))) + eps);
        }
        free(g);
    }
}

int main(void) {
    char *line = NULL;
    for (size_t room = 0; getline(&line, &room, stdin) > 0 && !strstr(line, "\"stop\""); fflush(stdout)) {
        if (strstr(line, "\"message\":\"start\""))
            puts("{\"message\":\"start\",\"protocol\":1,\"name\":\"adam.c\",\"version\":\"1\",\"arrays\":\"hex\","
                 "\"dtypes\":[\"float64\"],\"hyper\":{\"lr\":{\"default\":0.001,\"per_step\":true},"
                 "\"beta1\":{\"default\":0.9,\"per_step\":true},\"beta2\":{\"default\":0.999,\"per_step\":true},"
                 "\"eps\":{\"default\":1e-8,\"per_step\":true}}}");
        else if (strstr(line, "\"message\":\"init\"")) {
            init(line);
            puts("{\"message\":\"init\"}");
        } else {
            step(line);
            printf("{\"message\":\"step\",\"params\":[");
            for (int k = 0; k < leaves; k++) {
                printf("%s{\"dtype\":\"float64\",%s,\"hex\":[", k ? "," : "", leaf[k].shape);
                for (int i = 0; i < leaf[k].size; i++) printf(i ? ",\"%a\"" : "\"%a\"", leaf[k].w[i]);
                printf("]}");
            }
            puts("]}");
        }
    }
    return 0;
}
