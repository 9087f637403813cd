/* The ghosts of the policy auto. See auto_ghosts.h. */
#include "hot/policy/auto_ghosts.h"

#include <stddef.h>

#include "hot/policy_host.h"

/* A ghost: 14 bits of the hash, 12 bits of the tick of its last use, 6 bits of uses, which are
 * never 0. Ages from 4096 ticks on look younger than they are. */
enum { LINE = 16, LINES_FIRST = 16, PER_ENTRY = 2, TICK_BITS = 12, USES_BITS = 6 };

typedef struct ghost_table {
    uint32_t *ghosts; /* 0: none */
    uint64_t lines;
} ghost_table;

struct auto_ghosts {
    const firn_policy_host *host;
    ghost_table now, before;
    uint64_t added; /* since the table was begun */
    bool full;      /* there was no memory to grow */
};

static size_t table_size(uint64_t lines) {
    return (size_t)lines * LINE * sizeof(uint32_t);
}

static uint32_t *line_of(const ghost_table *table, uint64_t hash) {
    /* The product's high half: 32 bits of the hash are enough to spread over the lines. */
    uint64_t line = (hash * UINT64_C(0x9e3779b97f4a7c15) >> 32) * table->lines >> 32;
    return table->ghosts + line * LINE;
}

/* Other bits than the line was chosen by. */
static uint32_t tag_of(uint64_t hash) {
    return (uint32_t)(hash * UINT64_C(0xc2b2ae3d27d4eb4f) >> 32) >> (TICK_BITS + USES_BITS)
                                                                        << (TICK_BITS + USES_BITS);
}

static unsigned age_at(uint32_t ghost, uint32_t tick) {
    return (tick - (ghost >> USES_BITS)) & ((1U << TICK_BITS) - 1);
}

auto_ghosts *auto_ghosts_new(const firn_policy_host *host) {
    auto_ghosts *ghosts = firn_policy_alloc(host, sizeof *ghosts);
    if (ghosts == NULL) {
        return NULL;
    }
    ghosts->host = host;
    ghosts->now.lines = LINES_FIRST;
    ghosts->now.ghosts = firn_policy_alloc(host, table_size(LINES_FIRST));
    if (ghosts->now.ghosts == NULL) {
        firn_policy_free(host, ghosts, sizeof *ghosts);
        return NULL;
    }
    return ghosts;
}

static void free_table(const auto_ghosts *ghosts, ghost_table *table) {
    if (table->ghosts != NULL) {
        firn_policy_free(ghosts->host, table->ghosts, table_size(table->lines));
        table->ghosts = NULL;
    }
}

void auto_ghosts_free(auto_ghosts *ghosts) {
    if (ghosts != NULL) {
        free_table(ghosts, &ghosts->now);
        free_table(ghosts, &ghosts->before);
        firn_policy_free(ghosts->host, ghosts, sizeof *ghosts);
    }
}

static void grow(auto_ghosts *ghosts) {
    uint64_t lines = ghosts->now.lines + ghosts->now.lines / 4;
    uint32_t *memory = firn_policy_alloc(ghosts->host, table_size(lines));
    if (memory == NULL) {
        ghosts->full = true;
        return;
    }
    free_table(ghosts, &ghosts->before);
    ghosts->before = ghosts->now;
    ghosts->now = (ghost_table){memory, lines};
    ghosts->added = 0;
}

void auto_ghosts_add(auto_ghosts *ghosts, uint64_t hash, uint32_t tick, auto_ghost ghost,
                     uint64_t entries) {
    if (!ghosts->full && ghosts->now.lines * LINE < entries * PER_ENTRY) {
        grow(ghosts);
    }
    if (++ghosts->added == entries) {
        free_table(ghosts, &ghosts->before);
    }
    uint32_t *line = line_of(&ghosts->now, hash);
    unsigned oldest = 0;
    for (unsigned i = 0; i < LINE; i++) {
        if (line[i] == 0) {
            oldest = i;
            break;
        }
        if (age_at(line[i], tick) > age_at(line[oldest], tick)) {
            oldest = i;
        }
    }
    line[oldest] =
        tag_of(hash) | ((tick - ghost.age) & ((1U << TICK_BITS) - 1)) << USES_BITS | ghost.uses;
}

static bool take(const ghost_table *table, uint64_t hash, uint32_t tick, auto_ghost *ghost) {
    if (table->ghosts == NULL) {
        return false;
    }
    uint32_t *line = line_of(table, hash);
    uint32_t tag = tag_of(hash);
    for (unsigned i = 0; i < LINE; i++) {
        if (line[i] != 0 && line[i] >> (TICK_BITS + USES_BITS) == tag >> (TICK_BITS + USES_BITS)) {
            ghost->age = age_at(line[i], tick);
            ghost->uses = line[i] & ((1U << USES_BITS) - 1);
            line[i] = 0;
            return true;
        }
    }
    return false;
}

bool auto_ghosts_take(auto_ghosts *ghosts, uint64_t hash, uint32_t tick, auto_ghost *ghost) {
    return take(&ghosts->now, hash, tick, ghost) || take(&ghosts->before, hash, tick, ghost);
}
