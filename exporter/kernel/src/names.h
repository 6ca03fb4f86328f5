/* Layouts, by the names of spans and their scopes. */

#pragma once

#include "state.h"

/* The slot of a name of a scope, or the free one where it would be; NULL where there is neither. */
Name *slot_of(State *state, Bytes scope, Bytes name);

/* Tells the caller a name that needs a layout; 0 where very many are told already. */
int noted(State *state, const uint8_t *body, Bytes scope, Bytes name);

/* The layout of a span; NULL where it isn't known (`result` is NEW_NAMES, and the name may be noted) or known to be beyond limits. */
ALWAYS_INLINE Layout *layout_of(State *state, const uint8_t *body, Bytes scope, Bytes name, int *result) {
    *result = UNUSUAL;
    if (left(scope) > LONGEST_NAME || left(name) > LONGEST_NAME) return NULL;
    const Name *slot = slot_of(state, scope, name);
    if (LIKELY(slot && slot->taken)) return slot->layout < state->layouts ? &state->layout[slot->layout] : NULL;
    *result = noted(state, body, scope, name) ? NEW_NAMES : UNUSUAL;
    return NULL;
}
