/* The memory of ghosts that policies share a measure of. See policies.h. */
#include "tier/policy/policies.h"

enum { SHARE = 64, LINES_MIN = 4, LINES_MAX = (1 << 20) / FIRN_RECENT_LINE };

static size_t bytes_of(size_t lines) {
    return lines * FIRN_RECENT_LINE * sizeof(uint32_t);
}

int firn_ghost_state_init(void *state, const firn_tier_host *host) {
    firn_ghost_state *self = state;
    uint64_t lines = host->hot_bytes / SHARE / bytes_of(1);
    lines = lines < LINES_MIN ? LINES_MIN : lines > LINES_MAX ? LINES_MAX : lines;
    self->host = host;
    self->ghosts.ghosts = host->alloc(host, bytes_of(lines));
    self->ghosts.lines = self->ghosts.ghosts != NULL ? lines : 0;
    return self->ghosts.ghosts != NULL ? FIRN_OK : FIRN_ENOMEM;
}

void firn_ghost_state_fini(void *state) {
    firn_ghost_state *self = state;
    self->host->free(self->host, self->ghosts.ghosts, bytes_of(self->ghosts.lines));
}
