/* Attributes: a key of a layout, and a value. */

#pragma once

#include "state.h"

/* The column and the value of an attribute; it is a key and at most one value, in this order. */
int any_attribute(Layout *layout, unsigned number, Bytes in, uint16_t *column, Bytes *value);

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
