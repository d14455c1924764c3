/* As much of JSON as the vectors need: a tree of nodes, of which nothing is freed. */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Json {
    char kind;            /* '{', '[', '"', or '0' for a number or a word */
    const char *text;     /* of a string, a number or a word */
    size_t count;         /* of an object or a list */
    const char **keys;    /* of an object */
    struct Json **items;
} Json;

static void fail(const char *message, const char *detail)
{
    fprintf(stderr, "%s %s\n", message, detail);
    exit(2);
}

static void *room(size_t size)
{
    void *made = calloc(1, size ? size : 1);
    if (!made) fail("out of", "memory");
    return made;
}

static char *skip_space(char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* A string, unescaped in place but for \u, which stands in no name that is compared. */
static char *read_string(char *at, const char **text)
{
    char *to = ++at;
    *text = to;
    while (*at != '"') {
        if (*at == '\0') fail("a string has no", "end");
        if (*at == '\\' && at[1] != 'u') at++;
        *to++ = *at++;
    }
    *to = '\0';
    return at + 1;
}

static char *read_json(char *at, Json **found)
{
    Json *node = *found = room(sizeof *node);
    at = skip_space(at);
    if (*at == '"') {
        node->kind = '"';
        return read_string(at, &node->text);
    }
    if (*at != '{' && *at != '[') {
        size_t length = strcspn(at, ",]} \t\r\n");
        char *copy = room(length + 1);
        node->kind = '0';
        node->text = memcpy(copy, at, length);
        return at + length;
    }
    node->kind = *at;
    size_t space = 0;
    for (at = skip_space(at + 1); *at != ']' && *at != '}'; at = skip_space(at)) {
        if (node->count == space) {
            space = space ? 2 * space : 8;
            node->items = realloc(node->items, space * sizeof *node->items);
            node->keys = realloc(node->keys, space * sizeof *node->keys);
            if (!node->items || !node->keys) fail("out of", "memory");
        }
        if (node->kind == '{') {
            at = skip_space(read_string(at, &node->keys[node->count]));
            if (*at++ != ':') fail("no colon after", node->keys[node->count]);
        }
        at = skip_space(read_json(at, &node->items[node->count++]));
        if (*at == ',') at++;
        else if (*at != ']' && *at != '}') fail("neither a comma nor an end at", at);
    }
    return at + 1;
}

/* A member of an object, or NULL. */
static Json *find(const Json *object, const char *key)
{
    for (size_t i = 0; i < object->count; i++)
        if (!strcmp(object->keys[i], key)) return object->items[i];
    return NULL;
}

static Json *get(const Json *object, const char *key)
{
    Json *found = find(object, key);
    if (!found) fail("there is no member", key);
    return found;
}

static double number(const Json *node)
{
    return strtod(node->text, NULL); /* hex floats, inf and nan too */
}

static double *numbers(const Json *list)
{
    double *made = room(list->count * sizeof *made);
    for (size_t i = 0; i < list->count; i++) made[i] = number(list->items[i]);
    return made;
}

static Json *read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("cannot read", name);
    size_t size = (size_t)ftell(file);
    char *text = room(size + 1);
    rewind(file);
    if (fread(text, 1, size, file) != size) fail("cannot read", name);
    fclose(file);
    Json *found;
    read_json(text, &found);
    return found;
}
