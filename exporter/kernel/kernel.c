/* OTLP's protobuf encoding to columns, for infermeter/otlp/kernel.py.

Nothing is allocated here, nothing is kept but in the state that the caller hands in, and every read is behind a comparison with the end
of what it is read from. Whatever a sender writes that inference servers don't is UNUSUAL: then the caller decodes the export in Python,
which says what it means, or refuses it. So this needs to be right only about what it takes, and takes little: no groups, no field twice
that isn't repeated, no known field of another type, no tag or length of more than four bytes, no text that is no UTF-8.

An export is read up to three times. `check` judges all of it. `outline`, for many joined exports, finds where fit spans begin, and which
layout they have. `extract` writes the columns of those that the caller puts together.

Source: protobuf encoding guide; opentelemetry-proto trace/v1/trace.proto, common/v1/common.proto. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines, as protobuf's fixed numbers are"
#endif

#define INTERFACE 1
#define PUBLIC __attribute__((visibility("default")))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)

enum { USUAL, NEW_NAMES, UNUSUAL };
enum { NOTHING, DOUBLE, INTEGER, TEXT, TRUTH };

enum {
    LONGEST_BODY = 4 << 20,
    LEAST_SPAN = 46, /* two ids and two times */
    LEAST_TEXT = 8,  /* an attribute of a text, within its span */
    LEAST_EVENT = 11, /* a time and an empty name */
    MOST_SPANS = LONGEST_BODY / LEAST_SPAN + 1,
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

static const uint64_t END_OF_TIME_NS = (uint64_t)1 << 63;

enum { VARINT, FIXED64, LENGTH, FIXED32 = 5 };
#define TAG(number, type) ((number) << 3 | (type))

/* --- what is remembered ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
} Bytes;

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
    uint8_t key[KEY_BYTES];
    Step steps[MOST_STEPS];
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

/* --- bytes -------------------------------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE size_t left(Bytes in) { return (size_t)(in.end - in.at); }

ALWAYS_INLINE uint64_t word(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

ALWAYS_INLINE uint32_t half(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Whether so many bytes are the same; a call of memcmp costs more than most of them. */
ALWAYS_INLINE int same(const uint8_t *a, const uint8_t *b, size_t size) {
    if (size >= 8) {
        for (size_t i = 0; i < size - 8; i += 8)
            if (word(a + i) != word(b + i)) return 0;
        return word(a + size - 8) == word(b + size - 8);
    }
    if (size >= 4) return half(a) == half(b) && half(a + size - 4) == half(b + size - 4);
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

/* Every bit of what goes in reaches the low bits, which choose slots. */
ALWAYS_INLINE uint64_t mixed(uint64_t hash) {
    hash = (hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

ALWAYS_INLINE uint64_t hashed(const uint8_t *at, size_t size, uint64_t hash) {
    hash = mixed(hash ^ size);
    if (size >= 8) {
        for (size_t i = 0; i < size - 8; i += 8) hash = mixed(hash ^ word(at + i));
        return mixed(hash ^ word(at + size - 8));
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < size; i++) rest = rest << 8 | at[i];
    return mixed(hash ^ rest);
}

/* Whether the next bytes continue a letter. */
ALWAYS_INLINE int goes_on(const uint8_t *at, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    return 1;
}

/* What follows the ASCII of a text. Source: Unicode 15, table 3-7, "Well-Formed UTF-8 Byte Sequences". */
static int unicode(Bytes in) {
    while (in.at < in.end) {
        uint8_t first = *in.at++;
        if (first < 0x80) continue;
        if (first < 0xE0) {
            if (first < 0xC2 || left(in) < 1 || !goes_on(in.at, 1)) return 0;
            in.at += 1;
        } else if (first < 0xF0) {
            if (left(in) < 2 || !goes_on(in.at, 2)) return 0;
            if ((first == 0xE0 && *in.at < 0xA0) || (first == 0xED && *in.at > 0x9F)) return 0;
            in.at += 2;
        } else {
            if (first > 0xF4 || left(in) < 3 || !goes_on(in.at, 3)) return 0;
            if ((first == 0xF0 && *in.at < 0x90) || (first == 0xF4 && *in.at > 0x8F)) return 0;
            in.at += 3;
        }
    }
    return 1;
}

ALWAYS_INLINE int is_utf8(Bytes in) {
    const uint64_t high = UINT64_C(0x8080808080808080);
    for (; left(in) >= 32; in.at += 32)
        if ((word(in.at) | word(in.at + 8) | word(in.at + 16) | word(in.at + 24)) & high) return unicode(in);
    for (; left(in) >= 8; in.at += 8)
        if (word(in.at) & high) return unicode(in);
    for (; in.at < in.end; in.at++)
        if (*in.at & 0x80) return unicode(in);
    return 1;
}

/* A varint of at most so many bytes; 0 where there is none. */
ALWAYS_INLINE int varint(Bytes *in, unsigned longest, uint64_t *value) {
    if (LIKELY(in->at < in->end && *in->at < 0x80)) {
        *value = *in->at++;
        return 1;
    }
    uint64_t told = 0;
    for (unsigned i = 0; i < longest && in->at < in->end; i++) {
        uint8_t byte = *in->at++;
        if (i == 9 && byte > 1) return 0; /* more than 64 bits */
        told |= (uint64_t)(byte & 0x7F) << 7 * i;
        if (byte < 0x80) {
            *value = told;
            return 1;
        }
    }
    return 0;
}

enum { LONGEST_TAG = 4, LONGEST_INTEGER = 10 };

/* The tag of the next field; 0 where there is none. */
ALWAYS_INLINE uint32_t tag(Bytes *in) {
    uint64_t value;
    return varint(in, LONGEST_TAG, &value) && value >= TAG(1, 0) ? (uint32_t)value : 0;
}

/* What a length and as many bytes tell. */
ALWAYS_INLINE int content(Bytes *in, Bytes *told) {
    uint64_t size;
    if (!varint(in, LONGEST_TAG, &size) || size > left(*in)) return 0;
    told->at = in->at;
    told->end = in->at += size;
    return 1;
}

ALWAYS_INLINE int fixed64(Bytes *in, uint64_t *value) {
    if (left(*in) < 8) return 0;
    *value = word(in->at);
    in->at += 8;
    return 1;
}

/* Passes over the value of a field that isn't read; 0 where there was no tag, too. */
ALWAYS_INLINE int skipped(Bytes *in, uint32_t of) {
    uint64_t number;
    Bytes bytes;
    if (of < TAG(1, 0)) return 0;
    switch (of & 7) {
    case VARINT: return varint(in, LONGEST_INTEGER, &number);
    case FIXED64: return fixed64(in, &number);
    case LENGTH: return content(in, &bytes);
    case FIXED32:
        if (left(*in) < 4) return 0;
        in->at += 4;
        return 1;
    default: return 0;
    }
}

/* --- names and texts ---------------------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE uint64_t hash_of(const State *state, Bytes scope, Bytes name) {
    return hashed(name.at, left(name), hashed(scope.at, left(scope), state->seed));
}

/* The slot of a name of a scope, or the free one where it would be; NULL where there is neither. */
static Name *slot_of(State *state, Bytes scope, Bytes name) {
    uint64_t hash = hash_of(state, scope, name);
    for (unsigned i = 0; i < MOST_PROBES; i++) {
        Name *slot = &state->name[(hash + i) & (NAME_SLOTS - 1)];
        if (!slot->taken) return slot;
        if (slot->hash != hash || slot->scope_size != left(scope) || slot->name_size != left(name)) continue;
        const uint8_t *kept = state->name_bytes + slot->at;
        if (same(kept, scope.at, slot->scope_size) && same(kept + slot->scope_size, name.at, slot->name_size)) return slot;
    }
    return NULL;
}

/* The layout of a span; NULL where it isn't known (`result` is NEW_NAMES, and the name may be noted) or known to be beyond limits. */
ALWAYS_INLINE Layout *layout_of(State *state, const uint8_t *body, Bytes scope, Bytes name, int *result) {
    *result = UNUSUAL;
    if (left(scope) > LONGEST_NAME || left(name) > LONGEST_NAME) return NULL;
    const Name *slot = slot_of(state, scope, name);
    if (LIKELY(slot && slot->taken)) return slot->layout < state->layouts ? &state->layout[slot->layout] : NULL;
    *result = NEW_NAMES;
    for (uint64_t i = 0; i < state->new_names; i++) {
        const uint32_t *known = state->fresh[i];
        if (known[3] - known[2] == left(name) && known[1] - known[0] == left(scope) && same(body + known[2], name.at, left(name)) &&
            same(body + known[0], scope.at, left(scope)))
            return NULL;
    }
    if (state->new_names < MOST_NEW) {
        uint32_t *fresh = state->fresh[state->new_names++];
        fresh[0] = (uint32_t)(scope.at - body);
        fresh[1] = (uint32_t)(scope.end - body);
        fresh[2] = (uint32_t)(name.at - body);
        fresh[3] = (uint32_t)(name.end - body);
        return NULL;
    }
    *result = UNUSUAL;
    return NULL;
}

/* The number of a text among `place`, where an equal one stands once as long as there is room to look for it. Below `most`, or `most`. */
static uint32_t interned(Interned *table, Place *place, uint32_t most, const uint8_t *body, Bytes text, uint64_t seed) {
    uint64_t hash = hashed(text.at, left(text), seed);
    uint32_t *free_slot = NULL;
    for (unsigned i = 0; i < MOST_PROBES; i++) {
        uint32_t *slot = &table->slots[(hash + i) & (TEXT_SLOTS - 1)];
        if (!*slot) {
            free_slot = slot;
            break;
        }
        Place known = place[*slot - 1];
        if (known.end - known.begin == left(text) && same(body + known.begin, text.at, left(text))) return *slot - 1;
    }
    if (table->count == most) return most;
    place[table->count] = (Place){(uint32_t)(text.at - body), (uint32_t)(text.end - body)};
    table->count++;
    if (free_slot && table->interned < MOST_INTERNED) {
        table->interned++;
        *free_slot = table->count;
    }
    return table->count - 1;
}

/* The number of the name of an event; spans of a layout mostly have the same events in the same order. */
ALWAYS_INLINE uint32_t event_number(State *state, const uint8_t *body, unsigned number, Bytes name) {
    uint32_t *expected = &state->event_expected[number < MOST_EXPECTED ? number : MOST_EXPECTED - 1];
    if (LIKELY(*expected < state->event_table.count)) {
        Place known = state->event_name[*expected];
        if (LIKELY(known.end - known.begin == left(name) && same(body + known.begin, name.at, left(name)))) return *expected;
    }
    return *expected = interned(&state->event_table, state->event_name, MOST_EVENTS, body, name, state->seed);
}

static void forgotten(Interned *table) {
    if (table->interned) memset(table->slots, 0, sizeof table->slots);
    table->count = table->interned = 0;
}

/* --- attributes --------------------------------------------------------------------------------------------------------------------- */

static uint16_t column_of(const Layout *layout, Bytes key) {
    if (left(key) > LONGEST_KEY) return NO_COLUMN;
    for (uint16_t column = layout->first_of_size[left(key)]; column != NO_COLUMN; column = layout->next_of_size[column])
        if (same(layout->key + layout->key_at[column], key.at, left(key))) return column;
    return NO_COLUMN;
}

/* The column and the value of an attribute; it is a key and at most one value, in this order. */
static int any_attribute(Layout *layout, unsigned number, Bytes in, uint16_t *column, Bytes *value) {
    const uint8_t *begin = in.at;
    Bytes key;
    if (tag(&in) != TAG(1, LENGTH) || !content(&in, &key) || !is_utf8(key)) return 0;
    *column = column_of(layout, key);
    *value = (Bytes){in.end, in.end};
    if (in.at == in.end) return 1;
    if (tag(&in) != TAG(2, LENGTH)) return 0;
    size_t size = (size_t)(in.at - begin);
    if (number < MOST_STEPS && size <= LONGEST_STEP) {
        Step *step = &layout->steps[number];
        memcpy(step->begin, begin, size);
        step->size = (uint8_t)size;
        step->column = *column;
    }
    return content(&in, value) && in.at == in.end;
}

/* The same; spans of a layout mostly have the same attributes in the same order. */
ALWAYS_INLINE int attribute(Layout *layout, unsigned number, Bytes in, uint16_t *column, Bytes *value) {
    if (LIKELY(number < MOST_STEPS)) {
        const Step *step = &layout->steps[number];
        if (LIKELY(step->size && left(in) > step->size && same(in.at, step->begin, step->size))) {
            in.at += step->size;
            *column = step->column;
            return content(&in, value) && in.at == in.end;
        }
    }
    return any_attribute(layout, number, in, column, value);
}

/* The type of a wanted value, and its bits or its text. */
ALWAYS_INLINE int value_of(Bytes in, unsigned *type, uint64_t *bits, Bytes *text) {
    Bytes other;
    *type = NOTHING;
    if (in.at == in.end) return 1;
    switch (*in.at++) {
    case TAG(4, FIXED64):
        *type = DOUBLE;
        return fixed64(&in, bits) && in.at == in.end;
    case TAG(3, VARINT):
        *type = INTEGER;
        return varint(&in, LONGEST_INTEGER, bits) && in.at == in.end;
    case TAG(1, LENGTH):
        *type = TEXT;
        return content(&in, text) && in.at == in.end;
    case TAG(2, VARINT):
        *type = TRUTH;
        return varint(&in, LONGEST_INTEGER, bits) && in.at == in.end;
    case TAG(5, LENGTH):
    case TAG(6, LENGTH):
    case TAG(7, LENGTH): /* lists, maps and bytes are no values here */
        return content(&in, &other) && in.at == in.end;
    default: return 0;
    }
}

/* --- spans -------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t seen; /* a bit for each number of a field */
    uint32_t kind, status;
    uint64_t start_ns, end_ns;
    Bytes trace_id, span_id, parent_id, name;
} Head;

static const Bytes NONE = {NULL, NULL};

ALWAYS_INLINE int is_fit(const Head *head) {
    if (left(head->trace_id) != 16 || left(head->span_id) != 8) return 0;
    if (left(head->parent_id) != 0 && left(head->parent_id) != 8) return 0;
    if (!(word(head->trace_id.at) | word(head->trace_id.at + 8)) || !word(head->span_id.at)) return 0;
    return 0 < head->start_ns && head->start_ns <= head->end_ns && head->end_ns < END_OF_TIME_NS;
}

enum { TRACE_ID = 1, SPAN_ID = 2, PARENT_ID = 4, NAME = 5, KIND = 6, START = 7, END = 8, ATTRIBUTE = 9, EVENT = 11, STATUS = 15 };
enum {
    READ = 1 << TRACE_ID | 1 << SPAN_ID | 1 << PARENT_ID | 1 << NAME | 1 << KIND | 1 << START | 1 << END | 1 << ATTRIBUTE | 1 << EVENT | 1 << STATUS,
    OUTLINE = 1 << TRACE_ID | 1 << SPAN_ID | 1 << PARENT_ID | 1 << NAME | 1 << START | 1 << END,
};

ALWAYS_INLINE int first_time(uint32_t *seen, unsigned number) {
    uint32_t bit = (uint32_t)1 << number;
    int first = !(*seen & bit);
    *seen |= bit;
    return first;
}

/* A field of a span that stands there once. */
ALWAYS_INLINE int head_field(Bytes *in, uint32_t of, Head *head) {
    uint64_t number;
    Bytes status;
    switch (of) {
    case TAG(TRACE_ID, LENGTH): return first_time(&head->seen, TRACE_ID) && content(in, &head->trace_id);
    case TAG(SPAN_ID, LENGTH): return first_time(&head->seen, SPAN_ID) && content(in, &head->span_id);
    case TAG(PARENT_ID, LENGTH): return first_time(&head->seen, PARENT_ID) && content(in, &head->parent_id);
    case TAG(NAME, LENGTH): return first_time(&head->seen, NAME) && content(in, &head->name);
    case TAG(START, FIXED64): return first_time(&head->seen, START) && fixed64(in, &head->start_ns);
    case TAG(END, FIXED64): return first_time(&head->seen, END) && fixed64(in, &head->end_ns);
    case TAG(KIND, VARINT):
        if (!first_time(&head->seen, KIND) || !varint(in, LONGEST_INTEGER, &number)) return 0;
        head->kind = (uint32_t)number;
        return 1;
    case TAG(STATUS, LENGTH):
        if (!first_time(&head->seen, STATUS) || !content(in, &status)) return 0;
        for (uint32_t seen = 0; status.at < status.end;) {
            uint32_t inner = tag(&status);
            if (inner == TAG(3, VARINT)) {
                if (!first_time(&seen, 3) || !varint(&status, LONGEST_INTEGER, &number)) return 0;
                head->status = (uint32_t)number;
            } else if (inner >> 3 == 3 || !skipped(&status, inner)) {
                return 0;
            }
        }
        return 1;
    default:
        if (of >> 3 <= STATUS && READ >> (of >> 3) & 1) return 0; /* of another type */
        return skipped(in, of);
    }
}

/* The name and the time of an event; mostly it is these two and nothing else. */
ALWAYS_INLINE int event(Bytes in, Bytes *name, uint64_t *time_ns) {
    size_t size = left(in) - LEAST_EVENT;
    if (LIKELY(left(in) >= LEAST_EVENT && size < 0x80 && in.at[0] == TAG(1, FIXED64) && in.at[9] == TAG(2, LENGTH) && in.at[10] == size)) {
        *time_ns = word(in.at + 1);
        *name = (Bytes){in.at + LEAST_EVENT, in.end};
        return 1;
    }
    uint32_t seen = 0;
    *name = (Bytes){in.at, in.at};
    *time_ns = 0;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(1, FIXED64)) {
            if (!first_time(&seen, 1) || !fixed64(&in, time_ns)) return 0;
        } else if (of == TAG(2, LENGTH)) {
            if (!first_time(&seen, 2) || !content(&in, name)) return 0;
        } else if (of >> 3 <= 2 || !skipped(&in, of)) {
            return 0;
        }
    }
    return 1;
}

/* Judges one attribute of a layout. */
ALWAYS_INLINE int attribute_checked(Layout *layout, unsigned number, Bytes in, uint64_t span_number) {
    uint16_t column;
    Bytes value, text;
    unsigned type;
    uint64_t bits;
    if (!attribute(layout, number, in, &column, &value)) return 0;
    if (column == NO_COLUMN) return 1;
    if (layout->seen_in[column] == span_number) return 0;
    layout->seen_in[column] = span_number;
    return value_of(value, &type, &bits, &text) && (type != TEXT || is_utf8(text));
}

/* Judges one span. What has no layout yet is gone over for the sake of the bytes that follow; it is judged when it has one. */
static int span_checked(State *state, const uint8_t *body, Bytes in, Bytes scope, Head *head) {
    Layout *layout = NULL;
    unsigned attributes = 0;
    int result = USUAL;
    uint64_t time_ns;
    Bytes part, name;
    *head = (Head){0, 0, 0, 0, 0, NONE, NONE, NONE, NONE};
    state->span_number++;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(ATTRIBUTE, LENGTH)) {
            if (!layout || !content(&in, &part) || !attribute_checked(layout, attributes++, part, state->span_number)) return UNUSUAL;
        } else if (of == TAG(EVENT, LENGTH)) {
            if (!content(&in, &part) || !event(part, &name, &time_ns) || !is_utf8(name)) return UNUSUAL;
        } else {
            if (!head_field(&in, of, head)) return UNUSUAL;
            if (of == TAG(NAME, LENGTH) && !(layout = layout_of(state, body, scope, head->name, &result))) return result;
        }
    }
    return layout ? USUAL : UNUSUAL;
}

/* Whether a resource can be read: its attributes once each. */
static int resource_checked(State *state, Bytes in) {
    unsigned attributes = 0;
    Bytes part;
    state->span_number++;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(1, LENGTH)) {
            if (!content(&in, &part) || !attribute_checked(&state->layout[0], attributes++, part, state->span_number)) return 0;
        } else if (of >> 3 == 1 || !skipped(&in, of)) {
            return 0;
        }
    }
    return 1;
}

/* The name of a scope. */
static int scope_name(Bytes in, Bytes *name) {
    uint32_t seen = 0;
    *name = (Bytes){in.at, in.at};
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(1, LENGTH)) {
            if (!first_time(&seen, 1) || !content(&in, name)) return 0;
        } else if (of >> 3 == 1 || !skipped(&in, of)) {
            return 0;
        }
    }
    return 1;
}

/* --- exports: a walk over spans, for both that need one ----------------------------------------------------------------------------- */

typedef int Visit(State *state, const uint8_t *body, Bytes span, Bytes scope, int *is_fit);

static int span_judged(State *state, const uint8_t *body, Bytes in, Bytes scope, int *fit) {
    Head head;
    int result = span_checked(state, body, in, scope, &head);
    if (result != USUAL) return result;
    *fit = is_fit(&head);
    uint64_t begin = head.span_id.at ? (uint64_t)(head.span_id.at - body) : 0;
    state->last_begin = begin;
    state->last_end = begin + left(head.span_id);
    if (!state->spans) {
        state->first_begin = state->last_begin;
        state->first_end = state->last_end;
    }
    return USUAL;
}

static int span_outlined(State *state, const uint8_t *body, Bytes in, Bytes scope, int *fit) {
    Head head = {0, 0, 0, 0, 0, NONE, NONE, NONE, NONE};
    Bytes whole = in;
    int result;
    while (in.at < in.end && (head.seen & OUTLINE) != OUTLINE) {
        uint32_t of = tag(&in);
        if (of == TAG(ATTRIBUTE, LENGTH) || of == TAG(EVENT, LENGTH)) {
            if (!skipped(&in, of)) return UNUSUAL;
        } else if (!head_field(&in, of, &head)) {
            return UNUSUAL;
        }
    }
    if (!(*fit = is_fit(&head))) return USUAL;
    const Layout *layout = layout_of(state, body, scope, head.name, &result);
    if (!layout) return result;
    if (state->outlined == MOST_SPANS) return UNUSUAL;
    state->span[state->outlined] = (Place){(uint32_t)(whole.at - body), (uint32_t)(whole.end - body)};
    state->layout_of[state->outlined++] = (uint8_t)(layout - state->layout);
    return USUAL;
}

ALWAYS_INLINE int scope_walked(State *state, const uint8_t *body, Bytes in, Bytes resource, Visit *visit) {
    Bytes scope = {in.at, in.at}, part;
    uint32_t seen = 0;
    uint64_t fit_before = state->spans - state->malformed;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(2, LENGTH)) {
            int fit = 0;
            seen |= 1 << 2;
            if (!content(&in, &part)) return UNUSUAL;
            int result = visit(state, body, part, scope, &fit);
            if (result == UNUSUAL) return UNUSUAL;
            state->spans++;
            state->malformed += !fit;
        } else if (of == TAG(1, LENGTH)) {
            if (seen || !content(&in, &part) || !scope_name(part, &scope)) return UNUSUAL; /* twice, or after its spans */
            seen |= 1 << 1;
        } else if (of >> 3 <= 2 || !skipped(&in, of)) {
            return UNUSUAL;
        }
    }
    if (!(seen & 1 << 2) && !is_utf8(scope)) return UNUSUAL; /* that of a span is known, or will be looked at */
    uint64_t fit = state->spans - state->malformed - fit_before;
    if (fit) {
        if (state->sections == MOST_SPANS) return UNUSUAL;
        state->section[state->sections++] = (Section){
            (uint32_t)(resource.at - body), (uint32_t)(resource.end - body), (uint32_t)(scope.at - body), (uint32_t)(scope.end - body), (uint32_t)fit,
        };
    }
    return USUAL;
}

ALWAYS_INLINE int resource_walked(State *state, const uint8_t *body, Bytes in, int judge, Visit *visit) {
    Bytes resource = {in.at, in.at}, part;
    uint32_t seen = 0;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(2, LENGTH)) {
            seen |= 1 << 2;
            if (!content(&in, &part) || scope_walked(state, body, part, resource, visit) != USUAL) return UNUSUAL;
        } else if (of == TAG(1, LENGTH)) {
            if (seen || !content(&in, &resource) || (judge && !resource_checked(state, resource))) return UNUSUAL;
            seen |= 1 << 1;
        } else if (of >> 3 <= 2 || !skipped(&in, of)) {
            return UNUSUAL;
        }
    }
    return USUAL;
}

ALWAYS_INLINE int walked(State *state, const uint8_t *body, size_t size, int judge, Visit *visit) {
    Bytes in = {body, body + size}, part;
    state->spans = state->malformed = state->new_names = state->sections = state->outlined = 0;
    state->first_begin = state->first_end = state->last_begin = state->last_end = 0;
    if (size > LONGEST_BODY || !state->layouts) return UNUSUAL;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(1, LENGTH)) {
            if (!content(&in, &part) || resource_walked(state, body, part, judge, visit) != USUAL) return UNUSUAL;
        } else if (of >> 3 == 1 || !skipped(&in, of)) {
            return UNUSUAL;
        }
    }
    return state->new_names ? NEW_NAMES : USUAL;
}

/* --- what is called ----------------------------------------------------------------------------------------------------------------- */

PUBLIC uint32_t infermeter_kernel_interface(void) { return INTERFACE; }

/* The size of a state, and where in it stand: told, section, span, layout_of, order, text, event_name, event_row, event_of, event_ns. */
PUBLIC void infermeter_kernel_places(uint64_t places[12]) {
    const uint64_t told[12] = {
        sizeof(State),           offsetof(State, fresh),     offsetof(State, told),       offsetof(State, section),
        offsetof(State, span),   offsetof(State, layout_of), offsetof(State, order),      offsetof(State, text),
        offsetof(State, event_name), offsetof(State, event_row), offsetof(State, event_of), offsetof(State, event_ns),
    };
    memcpy(places, told, sizeof told);
}

/* Begins a state, which is zeros. */
PUBLIC void infermeter_kernel_begin(State *state, uint64_t seed) { state->seed = seed; }

/* Adds a layout of so many keys, one after the other; its number, or UNREAD where it is beyond limits. */
PUBLIC uint32_t infermeter_kernel_layout(State *state, const uint8_t *keys, const uint32_t *sizes, uint32_t count, uint32_t events) {
    if (state->layouts == MOST_LAYOUTS || count > MOST_KEYS) return UNREAD;
    Layout *layout = &state->layout[state->layouts];
    memset(layout, 0, sizeof *layout);
    memset(layout->first_of_size, 0xFF, sizeof layout->first_of_size);
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i] > LONGEST_KEY || sizes[i] > KEY_BYTES - layout->key_bytes) return UNREAD;
        memcpy(layout->key + layout->key_bytes, keys, sizes[i]);
        keys += sizes[i];
        layout->key_at[i] = layout->key_bytes;
        layout->key_size[i] = (uint8_t)sizes[i];
        layout->key_bytes += sizes[i];
        layout->next_of_size[i] = layout->first_of_size[sizes[i]];
        layout->first_of_size[sizes[i]] = (uint16_t)i;
    }
    layout->keys = count;
    layout->events = events != 0;
    return state->layouts++;
}

/* Remembers the layout of a name of a scope; 0 where there is no room. */
PUBLIC int infermeter_kernel_name(State *state, const uint8_t *scope, size_t scope_size, const uint8_t *name, size_t name_size, uint32_t layout) {
    if (scope_size > LONGEST_NAME || name_size > LONGEST_NAME || state->names == MOST_NAMES) return 0;
    if (scope_size + name_size > NAME_BYTES - state->name_used) return 0;
    Bytes of_scope = {scope, scope + scope_size}, of_name = {name, name + name_size};
    Name *slot = slot_of(state, of_scope, of_name);
    if (!slot) return 0;
    if (slot->taken) return 1;
    *slot = (Name){hash_of(state, of_scope, of_name), state->name_used, (uint16_t)scope_size, (uint16_t)name_size, 1, (uint8_t)layout};
    memcpy(state->name_bytes + state->name_used, scope, scope_size);
    memcpy(state->name_bytes + state->name_used + scope_size, name, name_size);
    state->name_used += (uint32_t)(scope_size + name_size);
    state->names++;
    return 1;
}

/* Forgets all names. */
PUBLIC void infermeter_kernel_forget(State *state) {
    memset(state->name, 0, sizeof state->name);
    state->names = state->name_used = 0;
}

/* Judges an export. NEW_NAMES: some (at most MOST_NEW are told) need a layout before they are judged. */
PUBLIC int infermeter_kernel_check(State *state, const uint8_t *body, size_t size) { return walked(state, body, size, 1, span_judged); }

/* Finds the fit spans of joined exports, and begins what `extract` goes on with. */
PUBLIC int infermeter_kernel_outline(State *state, const uint8_t *body, size_t size) {
    forgotten(&state->text_table);
    state->texts = 0;
    state->body_bytes = size;
    return walked(state, body, size, 0, span_outlined);
}

/* One batch in its block: arrays of `count` one after the other. */
typedef struct {
    uint64_t *trace_id, *span_id, *parent_id, *start_ns, *end_ns, *values;
    uint8_t *types, *kind, *status;
} Block;

ALWAYS_INLINE int span_extracted(State *state, const uint8_t *body, Bytes in, Layout *layout, const Block *to, size_t row, size_t count) {
    Head head = {0, 0, 0, 0, 0, NONE, NONE, NONE, NONE};
    unsigned attributes = 0, events = 0, type;
    uint64_t bits = 0, time_ns;
    uint16_t column;
    Bytes part, value, text;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(ATTRIBUTE, LENGTH)) {
            if (!content(&in, &part) || !attribute(layout, attributes++, part, &column, &value)) return 0;
            if (column == NO_COLUMN) continue;
            size_t cell = column * count + row;
            if (!value_of(value, &type, &bits, &text) || to->types[cell]) return 0;
            if (type == NOTHING) continue;
            if (type == TEXT) {
                bits = interned(&state->text_table, state->text, MOST_TEXTS, body, text, state->seed);
                if (bits == MOST_TEXTS) return 0;
            }
            to->values[cell] = bits;
            to->types[cell] = (uint8_t)type;
            state->told[column].count++;
            state->told[column].types |= 1U << type;
        } else if (of == TAG(EVENT, LENGTH)) {
            if (!content(&in, &part)) return 0;
            if (!layout->events) continue;
            if (!event(part, &text, &time_ns)) return 0;
            if (time_ns == 0 || time_ns >= END_OF_TIME_NS) continue;
            uint32_t name = event_number(state, body, events++, text);
            if (name == MOST_EVENTS || state->events == MOST_EVENTS) return 0;
            state->event_row[state->events] = (int64_t)row;
            state->event_of[state->events] = name;
            state->event_ns[state->events++] = (int64_t)time_ns;
        } else if (!head_field(&in, of, &head)) {
            return 0;
        }
    }
    if (!is_fit(&head)) return 0;
    memcpy(to->trace_id + 2 * row, head.trace_id.at, 16);
    to->span_id[row] = word(head.span_id.at);
    to->parent_id[row] = left(head.parent_id) ? word(head.parent_id.at) : 0;
    to->start_ns[row] = head.start_ns;
    to->end_ns[row] = head.end_ns;
    to->kind[row] = head.kind < 6 ? (uint8_t)head.kind : 0;
    to->status[row] = head.status < 3 ? (uint8_t)head.status : 0;
    return 1;
}

/* Writes the columns of `count` spans of one layout, from `first` on in `order`, to a block of (50 + 9 * keys) * count bytes. */
PUBLIC int infermeter_kernel_extract(
    State *state, const uint8_t *body, size_t size, uint32_t first, uint32_t count, uint32_t number, uint8_t *block, size_t block_bytes
) {
    if (size != state->body_bytes || number >= state->layouts || state->outlined > MOST_SPANS || first > state->outlined || count > state->outlined - first) return UNUSUAL;
    Layout *layout = &state->layout[number];
    size_t n = count, cells = n * layout->keys;
    if (block_bytes != 50 * n + 9 * cells) return UNUSUAL;
    uint64_t *words = (uint64_t *)block;
    uint8_t *octets = block + 48 * n + 8 * cells;
    Block to = {words, words + 2 * n, words + 3 * n, words + 4 * n, words + 5 * n, words + 6 * n, octets, octets + cells, octets + cells + n};
    memset(to.types, 0, cells);
    memset(state->told, 0, sizeof state->told);
    forgotten(&state->event_table);
    state->events = 0;
    for (size_t row = 0; row < n; row++) {
        uint32_t span = state->order[first + row];
        if (span >= state->outlined) return UNUSUAL;
        Place place = state->span[span];
        if (place.begin > place.end || place.end > size) return UNUSUAL;
        if (!span_extracted(state, body, (Bytes){body + place.begin, body + place.end}, layout, &to, row, n)) return UNUSUAL;
    }
    state->event_names = state->event_table.count;
    state->texts = state->text_table.count;
    return USUAL;
}
