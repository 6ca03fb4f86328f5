/* Texts and the names of events, each by a number of its own. */

#pragma once

#include "state.h"

/* The number of a text among `place`, where an equal one stands once as long as there is room to look for it. Below `most`, or `most`. */
uint32_t interned(Interned *table, Place *place, uint32_t most, const uint8_t *body, Bytes text, uint64_t seed);

/* Forgets all of a table. */
void forgotten(Interned *table);

/* The number of the name of an event; spans of a layout mostly have the same events in the same order. */
ALWAYS_INLINE uint32_t event_number(State *state, const uint8_t *body, unsigned number, Bytes name) {
    uint32_t *expected = &state->event_expected[number < MOST_EXPECTED ? number : MOST_EXPECTED - 1];
    if (LIKELY(*expected < state->event_table.count)) {
        Place known = state->event_name[*expected];
        if (LIKELY(known.end - known.begin == left(name) && same(body + known.begin, name.at, left(name)))) return *expected;
    }
    return *expected = interned(&state->event_table, state->event_name, MOST_EVENTS, body, name, state->seed);
}
