/* Writes the columns of spans of one batch. */

#include "attributes.h"
#include "kernel.h"
#include "spans.h"
#include "texts.h"

/* One batch in its block: arrays of `count` one after the other. */
typedef struct {
    uint64_t *trace_id, *span_id, *parent_id, *start_ns, *end_ns, *values;
    uint8_t *types, *kind, *status;
} Block;

ALWAYS_INLINE int span_extracted(State *state, const uint8_t *body, Bytes in, Layout *layout, const Block *to, size_t row, size_t count) {
    Head head = no_head(in);
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
            if (!value_of(value, &type, &bits, &text)) return 0; /* each once: that was judged */
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
            if (state->events == MOST_EVENTS) return 0; /* nor are there more names */
            uint32_t name = event_number(state, body, events++, text);
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
int infermeter_kernel_extract(
    State *state, const uint8_t *body, size_t size, uint32_t first, uint32_t count, uint32_t number, uint8_t *block, size_t block_bytes
) {
    if (size != state->body_bytes || number >= state->layouts || first > state->outlined || count > state->outlined - first) return UNUSUAL;
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
        Place place = state->span[span]; /* `outline` put it there, within a body of this size */
        if (!span_extracted(state, body, (Bytes){body + place.begin, body + place.end}, layout, &to, row, n)) return UNUSUAL;
    }
    state->event_names = state->event_table.count;
    state->texts = state->text_table.count;
    return USUAL;
}
