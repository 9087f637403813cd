/* Explores the interleavings of a few threads over code whose atomic operations and locks stop here
 * (see shim.h).
 *
 * Threads are coroutines of one thread of the system. Before each operation on shared memory a
 * thread stops, and it is decided who goes on: so one run of a scenario is told by the list of
 * these decisions, and the next run takes another one, depth first. Which decisions are worth
 * another run is found by dynamic partial-order reduction: two runs that differ only in the order
 * of operations that do not depend on each other are the same, and one of them is enough. What is
 * left is every behaviour that the threads can have, as long as memory is sequentially consistent.
 * Knows nothing of the library. */
#ifndef FIRN_TESTS_EXPLORER_H
#define FIRN_TESTS_EXPLORER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { MODEL_THREADS_MAX = 4 };

typedef enum model_kind {
    MODEL_READ,
    MODEL_WRITE, /* or both at once */
    MODEL_LOCK,
    MODEL_TRYLOCK,
    MODEL_UNLOCK,
    /* Where an operation of the scenario begins and ends: which came first of an end and a
     * beginning is part of the behaviour. */
    MODEL_INVOKE,
    MODEL_RETURN,
} model_kind;

/* Where in the code a thread stands. */
typedef struct model_site {
    const char *what;
    const char *file;
    const char *function;
    int line;
    enum { MODEL_UNKNOWN, MODEL_LOUD, MODEL_QUIET } noise;
} model_site;

typedef struct model_scenario {
    unsigned threads;
    /* In this order, each on the main thread but body. end is not called for a run that turns out
     * to be one of those before; reset always is. */
    void (*begin)(void *context);
    void (*body)(void *context, unsigned thread);
    void (*end)(void *context);
    void (*reset)(void *context);
    void *context;
} model_scenario;

typedef enum model_mode {
    MODEL_REDUCED, /* one run of each behaviour */
    MODEL_BOUNDED, /* those with at most `bound` preemptions, reduced as far as that allows */
    MODEL_FULL,    /* every order of all operations; for tests of the explorer */
} model_mode;

typedef struct model_settings {
    model_mode mode;
    unsigned bound;
    uint64_t runs_max;    /* more is a failure, for then it is not complete; 0: no limit */
    const char *schedule; /* replay: one run by these decisions, told in full. NULL: explore */
} model_settings;

typedef struct model_result {
    uint64_t runs;       /* that came to their end */
    uint64_t abandoned;  /* that turned out to be one of those before */
    unsigned longest;    /* operations in a run */
    bool complete;       /* all there are were explored, and none failed */
    char failure[512];   /* empty: none */
    char schedule[2048]; /* of the failure; for model_settings.schedule */
} model_result;

void model_explore(const model_scenario *scenario, const model_settings *settings,
                   model_result *result);

/* For scenarios. The run is wrong: does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void model_fail(const char *format, ...);
/* The thread that runs, or MODEL_THREADS_MAX outside of bodies. */
unsigned model_thread(void);
/* Beginning and end of an operation that the scenario looks at as a whole. */
void model_invoke(void);
void model_return(void);
/* Of the run so far: how often a thread that could have gone on did not. */
unsigned model_preemptions(void);

/* For shim.h. An operation on the cell comes next. */
void model_reach(const volatile void *cell, model_kind kind, model_site *site);
int model_mutex_lock(pthread_mutex_t *mutex, model_site *site);
int model_mutex_trylock(pthread_mutex_t *mutex, model_site *site);
int model_mutex_unlock(pthread_mutex_t *mutex, model_site *site);
uintptr_t model_thread_name(void);

/* Functions that read what never changes while threads run, though it shares its cell with what
 * does: they do not stop. Ends with NULL. */
extern const char *const *model_quiet_functions;

/* The scenario's memory: called for each cell that is reached; says what is wrong with it, or NULL.
 */
extern const char *(*model_check_cell)(const volatile void *cell);

#endif
