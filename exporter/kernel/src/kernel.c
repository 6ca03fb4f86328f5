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
#include "kernel.h"

#define INTERFACE 1 /* of names, arguments and places, as kernel_library.py knows them */

uint32_t infermeter_kernel_interface(void) { return INTERFACE; }

/* The size of a state, and where in it stand: told, section, span, layout_of, order, text, event_name, event_row, event_of, event_ns. */
void infermeter_kernel_places(uint64_t places[12]) {
    const uint64_t told[12] = {
        sizeof(State),           offsetof(State, fresh),     offsetof(State, told),       offsetof(State, section),
        offsetof(State, span),   offsetof(State, layout_of), offsetof(State, order),      offsetof(State, text),
        offsetof(State, event_name), offsetof(State, event_row), offsetof(State, event_of), offsetof(State, event_ns),
    };
    memcpy(places, told, sizeof told);
}

/* Begins a state, which is zeros. */
void infermeter_kernel_begin(State *state, uint64_t seed) { state->seed = seed; }
