/* Feeds the kernel exports and what becomes of them by chance, each in memory of exactly its size, for the sanitizers to see.

Usage: driver FILE ROUNDS. FILE: exports, each after its length in four bytes. Each is tried as it is, and changed in so many ways; those that
are usual are joined with the one before. Prints how many were tried, how many were usual, their fit spans and values. Fails where what was
found usual by one reading isn't by the next. */

#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_INPUTS = 4096, LONGEST = 1 << 16 };

typedef struct {
    uint8_t *bytes;
    size_t size;
} Body;

static State state;
static Body input[MOST_INPUTS];
static unsigned long tried, usual, fit, values;

static uint64_t chance(uint64_t below) {
    static uint64_t last = 88172645463325252U;
    last ^= last << 13;
    last ^= last >> 7;
    last ^= last << 17;
    return last % below;
}

static Body copied(const uint8_t *bytes, size_t size) {
    Body body = {malloc(size ? size : 1), size};
    if (!body.bytes) abort();
    memcpy(body.bytes, bytes, size);
    return body;
}

/* Gives the names that need one a layout. */
static void learn(Body body) {
    for (uint64_t i = 0; i < state.new_names; i++) {
        const uint32_t *fresh = state.fresh[i];
        const uint8_t *name = body.bytes + fresh[2];
        size_t size = fresh[3] - fresh[2];
        uint32_t layout = size == 11 && !memcmp(name, "llm_request", 11) ? 1 : size == 7 && !memcmp(name, "compute", 7) ? 2 : 1 + (uint32_t)size % 4;
        if (layout == 4) layout = UNREAD;
        while (!infermeter_kernel_name(&state, body.bytes + fresh[0], fresh[1] - fresh[0], name, size, layout)) infermeter_kernel_forget(&state);
    }
}

/* Reads until all names are known: not all are told at once, and room for one may be made by forgetting others. */
static int read_known(int (*reading)(State *, const uint8_t *, size_t), Body body) {
    int result = reading(&state, body.bytes, body.size);
    while (state.new_names) {
        learn(body);
        result = reading(&state, body.bytes, body.size);
    }
    return result;
}

/* Reads all columns of all layouts. */
static int columns(Body body) {
    int result = read_known(infermeter_kernel_outline, body);
    uint32_t outlined = (uint32_t)state.outlined, first = 0;
    for (uint32_t layout = 0; layout < state.layouts; layout++) {
        uint32_t count = 0;
        for (uint32_t span = 0; span < outlined; span++)
            if (state.layout_of[span] == layout) state.order[first + count++] = span;
        if (!count) continue;
        size_t size = (50 + 9 * (size_t)state.layout[layout].keys) * count;
        uint8_t *block = malloc(size);
        if (!block) abort();
        int extracted = infermeter_kernel_extract(&state, body.bytes, body.size, first, count, layout, block, size);
        for (uint32_t key = 0; key < state.layout[layout].keys; key++) values += state.told[key].count;
        free(block);
        if (extracted != USUAL) result = extracted;
        first += count;
    }
    return result;
}

static void tried_once(Body body) {
    static Body before;
    tried++;
    int checked = read_known(infermeter_kernel_check, body);
    uint64_t spans = state.spans, malformed = state.malformed;
    if (state.last_begin > state.last_end || state.last_end > body.size || state.first_end > body.size) abort();
    int read = columns(body);
    if (checked == USUAL) {
        if (read != USUAL || state.spans != spans || state.malformed != malformed || state.outlined != spans - malformed) abort();
        usual++;
        fit += spans - malformed;
        uint64_t texts = state.texts, outlined = state.outlined;
        Body joined = copied(body.bytes, body.size);
        if (before.bytes && before.size + body.size <= LONGEST) {
            free(joined.bytes);
            joined = (Body){malloc(before.size + body.size + 1), before.size + body.size};
            if (!joined.bytes) abort();
            memcpy(joined.bytes, before.bytes, before.size);
            memcpy(joined.bytes + before.size, body.bytes, body.size);
        }
        if (columns(joined) != USUAL || state.texts < texts || state.outlined < outlined) abort();
        free(joined.bytes);
        free(before.bytes);
        before = copied(body.bytes, body.size);
    }
}

/* A few bytes changed, a piece lost, a piece twice, a piece of another input put in, cut off. */
static Body changed(Body from, size_t inputs) {
    static const uint8_t telling[] = {0, 1, 2, 8, 0x0A, 0x12, 0x3A, 0x4A, 0x5A, 0x7F, 0x80, 0xFF};
    static uint8_t bytes[2 * LONGEST];
    size_t size = from.size;
    memcpy(bytes, from.bytes, size);
    for (uint64_t turn = 1 + chance(3); turn && size; turn--) {
        size_t at = chance(size), end = at + chance(size - at + 1), piece = end - at;
        switch (chance(6)) {
        case 0:
        case 1: bytes[at] = chance(2) ? telling[chance(sizeof telling)] : (uint8_t)chance(256); break;
        case 2: bytes[at] ^= (uint8_t)(1U << chance(8)); break;
        case 3:
            memmove(bytes + at, bytes + end, size - end);
            size -= piece;
            break;
        case 4: {
            Body other = input[chance(inputs)];
            if (!other.size || size + other.size > LONGEST) break;
            size_t begin = chance(other.size), length = chance(other.size - begin + 1);
            memmove(bytes + at + length, bytes + at, size - at);
            memcpy(bytes + at, other.bytes + begin, length);
            size += length;
            break;
        }
        default: size = at;
        }
    }
    return copied(bytes, size);
}

int main(int count, char **arguments) {
    static const char keys[] = "gen_ai.usage.prompt_tokensgen_ai.latency.e2egen_ai.request.idmodeltokensseconds";
    static const uint32_t sizes[] = {26, 18, 17, 5, 6, 7}, resource[] = {12};
    FILE *file = count == 3 ? fopen(arguments[1], "rb") : NULL;
    if (!file) return 2;
    infermeter_kernel_begin(&state, 42);
    infermeter_kernel_layout(&state, (const uint8_t *)"service.name", resource, 1, 0);
    infermeter_kernel_layout(&state, (const uint8_t *)keys, sizes, 6, 0);
    infermeter_kernel_layout(&state, (const uint8_t *)keys, sizes, 6, 1);
    infermeter_kernel_layout(&state, (const uint8_t *)keys, sizes, 0, 0);
    size_t inputs = 0;
    uint32_t size;
    while (inputs < MOST_INPUTS && fread(&size, sizeof size, 1, file) == 1) {
        if (size > LONGEST) return 2;
        Body body = {malloc(size + 1), size};
        if (!body.bytes || fread(body.bytes, 1, size, file) != size) return 2;
        input[inputs++] = copied(body.bytes, size);
        free(body.bytes);
    }
    fclose(file);
    unsigned long rounds = strtoul(arguments[2], NULL, 10);
    for (size_t i = 0; i < inputs; i++) tried_once(input[i]);
    for (unsigned long round = 0; round < rounds; round++)
        for (size_t i = 0; i < inputs; i++) {
            Body body = changed(input[i], inputs);
            tried_once(body);
            free(body.bytes);
        }
    printf("%lu %lu %lu %lu\n", tried, usual, fit, values);
    return 0;
}
