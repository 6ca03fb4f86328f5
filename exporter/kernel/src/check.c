/* Judges an export. */

#include "attributes.h"
#include "kernel.h"
#include "names.h"
#include "walk.h"

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
    *head = no_head(in);
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

static int span_judged(State *state, const uint8_t *body, Bytes in, Bytes scope, int *fit) {
    Head head;
    int result = span_checked(state, body, in, scope, &head);
    if (result != USUAL) return result;
    *fit = is_fit(&head);
    state->last_begin = (uint64_t)(head.span_id.at - body);
    state->last_end = (uint64_t)(head.span_id.end - body);
    if (!state->spans) {
        state->first_begin = state->last_begin;
        state->first_end = state->last_end;
    }
    return USUAL;
}

/* NEW_NAMES: some (at most MOST_NEW are told) need a layout before they are judged. */
int infermeter_kernel_check(State *state, const uint8_t *body, size_t size) { return walked(state, body, size, resource_checked, span_judged); }
