/* What is remembered between calls, and its limits. All of it lies in one piece of memory, which the caller hands in. */

#pragma once

#include "wire.h"

enum { USUAL, NEW_NAMES, UNUSUAL };
enum { NOTHING, DOUBLE, INTEGER, TEXT, TRUTH };

enum {
    LONGEST_BODY = 4 << 20,
    LEAST_SPAN = 46, /* two ids and two times */
    LEAST_TEXT = 8,  /* an attribute of a text, within its span */
    LEAST_EVENT = 11, /* a time and an empty name */
    MOST_SPANS = LONGEST_BODY / LEAST_SPAN + 1, /* that are fit: no body has more, so none is counted against it */
    MOST_TEXTS = LONGEST_BODY / LEAST_TEXT + 1,
    MOST_EVENTS = LONGEST_BODY / LEAST_EVENT + 1,
    MOST_LAYOUTS = 64,
    MOST_KEYS = 128, /* of a layout */
    KEY_BYTES = 8192, /* of the keys of a layout */
    LONGEST_KEY = 255,
    MOST_STEPS = 48,
    LONGEST_STEP = 60,
    MOST_NAMES = 4096,
    NAME_SLOTS = 4 * MOST_NAMES, /* a power of two, as all numbers of slots; so sparse that no name lies further than MOST_PROBES from its place */
    NAME_BYTES = 1 << 19,
    LONGEST_NAME = 256, /* of a scope or a span */
    MOST_NEW = 32,
    TEXT_SLOTS = 8192,
    MOST_INTERNED = TEXT_SLOTS / 4 * 3,
    MOST_PROBES = 32,
    MOST_EXPECTED = 16,
    NO_COLUMN = 0xFFFF,
    UNREAD = 0xFF, /* a layout that is beyond these limits */
};

typedef struct {
    uint32_t begin, end;
} Place; /* in a body */

/* How the attribute began that last stood at this place of a span: tag and size of the key, the key, the tag of the value. */
typedef struct {
    uint16_t column;
    uint8_t size;
    uint8_t begin[LONGEST_STEP];
} Step;

typedef struct {
    uint32_t keys;
    uint32_t key_bytes;
    uint8_t events; /* whether those are wanted */
    uint8_t key_size[MOST_KEYS];
    uint16_t first_of_size[LONGEST_KEY + 1]; /* the first key of a size, or NO_COLUMN */
    uint16_t next_of_size[MOST_KEYS];
    uint32_t key_at[MOST_KEYS];
    uint64_t seen_in[MOST_KEYS]; /* the number of the span that had it last */
    Step steps[MOST_STEPS]; /* not the last: what is read beyond the last array of a structure no sanitizer sees */
    uint8_t key[KEY_BYTES];
} Layout;

typedef struct {
    uint64_t hash;
    uint32_t at; /* in `name_bytes`: the scope, then the name */
    uint16_t scope_size, name_size;
    uint8_t taken, layout;
} Name;

typedef struct {
    uint32_t count, interned;
    uint32_t slots[TEXT_SLOTS]; /* one more than the number of a text; 0: free */
} Interned;

typedef struct {
    uint32_t resource_begin, resource_end, scope_begin, scope_end, spans;
} Section;

typedef struct {
    uint32_t count, types; /* how many spans have it, and a bit for each type that it has */
} Told;

typedef struct {
    /* what the last call found; kernel.py knows this much of the order */
    uint64_t spans, malformed, first_begin, first_end, last_begin, last_end, new_names;
    uint64_t outlined, sections, events, event_names, texts;
    uint32_t fresh[MOST_NEW][4]; /* begin and end of scope and name */
    Told told[MOST_KEYS];
    /* layouts and names */
    uint64_t seed, span_number;
    uint64_t body_bytes; /* of what was outlined */
    uint32_t layouts, names, name_used;
    Layout layout[MOST_LAYOUTS]; /* the first are the keys of resources */
    Name name[NAME_SLOTS];
    uint8_t name_bytes[NAME_BYTES];
    /* of the bodies that are decoded together */
    Section section[MOST_SPANS];
    Place span[MOST_SPANS];
    uint8_t layout_of[MOST_SPANS];
    uint32_t order[MOST_SPANS]; /* written by kernel.py: spans of one batch follow each other */
    Interned text_table, event_table;
    uint32_t event_expected[MOST_EXPECTED]; /* the number of the name of the event that last stood at this place of a span */
    Place text[MOST_TEXTS], event_name[MOST_EVENTS];
    int64_t event_row[MOST_EVENTS], event_of[MOST_EVENTS], event_ns[MOST_EVENTS];
} State;
