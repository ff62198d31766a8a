/* What the load generator sends: kinds of messages, read from a file.
 *
 * Each line is NAME WEIGHT MEMBERS EXTRA TEXT. For the text the server sends MEMBERS frames to each
 * member of the sender's group, and EXTRA frames more in all. Lines of one name are mixed by their
 * weights. */
#ifndef KINDS_H
#define KINDS_H

#include "frames.h"

enum { MOST_KINDS = 32, NAME = 32 };

struct kind {
    char name[NAME];
    unsigned weight;
    int members, extra;
    unsigned char *frames; /* `burst` of them, one after another */
    size_t size;
    char *text;
};

static struct kind kinds[MOST_KINDS];
static size_t kinds_known;
static uint32_t dice;

static char *whole_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *all = malloc(size + 1);
    if (!all || fread(all, 1, size, file) != size) die(path);
    all[size] = 0;
    fclose(file);
    return all;
}

static void load_kinds(const char *path) {
    char *rest = whole_file(path), *line;
    while ((line = strsep(&rest, "\n")) && *line) {
        struct kind *kind = &kinds[kinds_known++];
        int at = 0;
        if (kinds_known > MOST_KINDS || sscanf(line, "%31s %u %d %d %n", kind->name, &kind->weight,
                                               &kind->members, &kind->extra, &at) < 4) {
            fprintf(stderr, "no kind of message: %s\n", line);
            exit(2);
        }
        kind->text = line + at;
    }
}

/* Makes the frames of this name and returns the sum of their weights; 0 when there is none. */
static unsigned prepare_kinds(const char *name, size_t burst) {
    unsigned sum = 0;
    dice = 1;
    for (size_t i = 0; i < kinds_known; i++) {
        struct kind *kind = &kinds[i];
        if (strcmp(kind->name, name)) continue;
        size_t length = strlen(kind->text);
        sum += kind->weight;
        kind->frames = realloc(kind->frames, burst * (length + 16));
        if (!kind->frames) die("realloc");
        kind->size = 0;
        for (size_t copy = 0; copy < burst; copy++)
            kind->size += build_frame(kind->frames + kind->size, TEXT, kind->text, length, 1);
    }
    return sum;
}

/* The dice start anew in each phase, so that all servers get the same messages. */
static struct kind *next_kind(const char *name, unsigned sum) {
    dice = dice * 1664525u + 1013904223u;
    unsigned left = (unsigned)((uint64_t)dice * sum >> 32);
    for (size_t i = 0; i < kinds_known; i++) {
        if (strcmp(kinds[i].name, name)) continue;
        if (left < kinds[i].weight) return &kinds[i];
        left -= kinds[i].weight;
    }
    return NULL;
}

#endif
