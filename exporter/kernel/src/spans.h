/* Fields of spans and of their events. Source: opentelemetry-proto trace/v1/trace.proto. */

#pragma once

#include "state.h"

#define END_OF_TIME_NS (UINT64_C(1) << 63)

typedef struct {
    uint32_t seen; /* a bit for each number of a field */
    uint32_t kind, status;
    uint64_t start_ns, end_ns;
    Bytes trace_id, span_id, parent_id, name;
} Head;

/* That of a span of which nothing is read yet. */
ALWAYS_INLINE Head no_head(Bytes in) {
    Bytes nothing = {in.at, in.at};
    return (Head){.trace_id = nothing, .span_id = nothing, .parent_id = nothing, .name = nothing};
}

/* Whether a span has ids and times as they must be. */
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
    size_t size = left(in) - LEAST_EVENT; /* huge where there is less */
    if (LIKELY(size < 0x80 && in.at[0] == TAG(1, FIXED64) && in.at[9] == TAG(2, LENGTH) && in.at[10] == size)) {
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
