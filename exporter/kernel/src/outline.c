/* Finds the fit spans of joined exports and their layouts. */

#include "kernel.h"
#include "names.h"
#include "texts.h"
#include "walk.h"

static int span_outlined(State *state, const uint8_t *body, Bytes in, Bytes scope, int *fit) {
    Head head = no_head(in);
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
    state->span[state->outlined] = (Place){(uint32_t)(whole.at - body), (uint32_t)(whole.end - body)};
    state->layout_of[state->outlined++] = (uint8_t)(layout - state->layout);
    return USUAL;
}

/* Also begins what `extract` goes on with. */
int infermeter_kernel_outline(State *state, const uint8_t *body, size_t size) {
    forgotten(&state->text_table);
    state->texts = 0;
    state->body_bytes = size;
    return walked(state, body, size, NULL, span_outlined);
}
