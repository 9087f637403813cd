/* See explorer.h.
 *
 * The reduction is that of Abdulla, Aronis, Jonsson and Sagonas (Optimal dynamic partial order
 * reduction, 2014; source sets and sleep sets): when an operation was found to depend on an earlier
 * one of another thread that it might as well have come before, a run in which it does is owed.
 * With a bound on preemptions, it is that of Coons, Musuvathi and McKinley (Bounded partial-order
 * reduction, 2013), which owes some more and knows no sleep sets. */
#include "model/interleave/explorer.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define MODEL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MODEL_ASAN 1
#endif
#endif
#ifdef MODEL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    EVENTS_MAX = 4096, /* in a run; more of them is taken for a run without an end */
    STACK_BYTES = 128 << 10,
    CELLS = 8192, /* a power of two, well above the cells of a run */
    OWNERS = 256, /* likewise, of mutexes */
    TOLD = 60,    /* operations before a failure that are told */
    NOBODY = MODEL_THREADS_MAX,
    LOCALS_MAX = 256, /* bytes of variables of a thread */
};

typedef struct step {
    const volatile void *cell;
    model_kind kind;
    const model_site *site;
} step;

/* An operation that was done. */
typedef struct event {
    step step;
    unsigned thread;
    int previous;                 /* on the same cell; -1: none */
    int clock[MODEL_THREADS_MAX]; /* of each thread, how many of its events happen before or are
                                     this one, as 1 + their place in the run */
} event;

/* A state in the present run, before the event of the same number. Sets are bits of threads. */
typedef struct node {
    unsigned enabled;
    unsigned owed;   /* to be tried here */
    unsigned done;   /* tried, with all that can follow */
    unsigned asleep; /* whatever follows was seen in another order */
    unsigned chosen;
    unsigned preemptions; /* before */
} node;

typedef struct coroutine {
    ucontext_t context;
    unsigned char *stack;
    void *fake_stack; /* the address sanitizer's */
    bool finished;
    bool lock_taken; /* what the try gave */
    step next;
    int clock[MODEL_THREADS_MAX];
    unsigned char locals[LOCALS_MAX];
} coroutine;

static struct {
    const model_scenario *scenario;
    const model_settings *settings;
    model_result *result;

    node nodes[EVENTS_MAX + 1];
    unsigned known; /* nodes from the run before that are followed */
    event events[EVENTS_MAX];
    unsigned count;

    coroutine threads[MODEL_THREADS_MAX];
    unsigned running; /* NOBODY: main */
    bool starting;    /* threads come to their first stops */
    bool abandoned;
    coroutine main;
    const void *main_stack; /* known to the address sanitizer's build alone */
    size_t main_size;
    sigjmp_buf failed;

    /* By address; an entry counts if its run is the present one. */
    uint64_t run;
    struct {
        const volatile void *cell;
        uint64_t run;
        int last;
    } cells[CELLS];
    struct {
        const volatile void *mutex;
        uint64_t run;
        unsigned owner; /* NOBODY: free; above: main's */
    } owners[OWNERS];
} self;

const char *const *model_quiet_functions;
const char *(*model_check_cell)(const volatile void *cell);

/* Variables of threads */

extern unsigned char __start_model_thread[] __attribute__((weak));
extern unsigned char __stop_model_thread[] __attribute__((weak));

static size_t locals_size(void) {
    return __start_model_thread != NULL ? (size_t)(__stop_model_thread - __start_model_thread) : 0;
}

/* Going from one coroutine to another */

static void switch_stacks(coroutine *from, coroutine *to, bool for_good) {
    size_t size = locals_size();
    if (size > 0) {
        memcpy(from->locals, __start_model_thread, size);
        memcpy(__start_model_thread, to->locals, size);
    }
#ifdef MODEL_ASAN
    __sanitizer_start_switch_fiber(for_good ? NULL : &from->fake_stack,
                                   to == &self.main ? self.main_stack : to->stack,
                                   to == &self.main ? self.main_size : STACK_BYTES);
    swapcontext(&from->context, &to->context);
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#else
    (void)for_good;
    swapcontext(&from->context, &to->context);
#endif
}

static coroutine *coroutine_of(unsigned thread) {
    return thread == NOBODY ? &self.main : &self.threads[thread];
}

static void go_on_with(unsigned thread, bool for_good) {
    unsigned before = self.running;
    self.running = thread;
    if (thread != before) {
        switch_stacks(coroutine_of(before), coroutine_of(thread), for_good);
    }
}

/* Failures */

static void tell_schedule(char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < self.count && at + 16 < size;) {
        unsigned same = i;
        while (same < self.count && self.events[same].thread == self.events[i].thread) {
            same++;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%ux%u", i > 0 ? "," : "",
                               self.events[i].thread, same - i);
        i = same;
    }
}

static void tell_step(FILE *to, unsigned number, unsigned thread, const step *step) {
    const char *file = strstr(step->site->file, "lib/");
    fprintf(to, "%5u  %*s%u: %s  (%s:%d)\n", number, (int)(thread * 4), "", thread,
            step->site->what, file != NULL ? file : step->site->file, step->site->line);
}

static void tell_run(FILE *to, unsigned most) {
    for (unsigned i = self.count > most ? self.count - most : 0; i < self.count; i++) {
        tell_step(to, i, self.events[i].thread, &self.events[i].step);
    }
    for (unsigned i = 0; self.scenario != NULL && i < self.scenario->threads; i++) {
        if (!self.threads[i].finished && self.running != i && self.threads[i].next.cell != NULL) {
            fprintf(to, "stands");
            tell_step(to, self.count, i, &self.threads[i].next);
        }
    }
}

void model_fail(const char *format, ...) {
    if (self.result->failure[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(self.result->failure, sizeof self.result->failure, format, arguments);
        va_end(arguments);
        tell_schedule(self.result->schedule, sizeof self.result->schedule);
    }
    if (self.running != NOBODY) {
        self.abandoned = true;
        go_on_with(NOBODY, true);
    }
    siglongjmp(self.failed, 1);
}

/* A crash says nothing of how it came about. */
static void tell_crash(void) {
    char text[2048];
    tell_schedule(text, sizeof text);
    tell_run(stderr, TOLD);
    fprintf(stderr, "schedule: %s\n", text);
    fflush(stderr);
}

#ifdef MODEL_ASAN
void __asan_on_error(void);
void __asan_on_error(void) {
    tell_crash();
}
#else
static void on_crash(int number) {
    signal(number, SIG_DFL);
    tell_crash();
    raise(number);
}
#endif

/* What depends on what */

static bool is_dependent(const step *a, const step *b) {
    if (a->cell != b->cell || (a->kind == MODEL_READ && b->kind == MODEL_READ)) {
        return false;
    }
    return a->kind != b->kind || (a->kind != MODEL_INVOKE && a->kind != MODEL_RETURN);
}

/* Whether there can be a state in which both are possible. */
static bool may_meet(const step *a, const step *b) {
    bool locks = a->kind == MODEL_LOCK || b->kind == MODEL_LOCK;
    bool unlocks = a->kind == MODEL_UNLOCK || b->kind == MODEL_UNLOCK;
    bool tries = a->kind == MODEL_TRYLOCK || b->kind == MODEL_TRYLOCK;
    return !unlocks || tries || !(locks || a->kind == b->kind);
}

static int *last_on(const volatile void *cell) {
    size_t at = ((uintptr_t)cell >> 2) * 0x9e3779b1u & (CELLS - 1);
    while (self.cells[at].run == self.run && self.cells[at].cell != cell) {
        at = (at + 1) & (CELLS - 1);
    }
    if (self.cells[at].run != self.run) {
        self.cells[at].cell = cell;
        self.cells[at].run = self.run;
        self.cells[at].last = -1;
    }
    return &self.cells[at].last;
}

static unsigned *owner_of(const volatile void *mutex) {
    size_t at = ((uintptr_t)mutex >> 3) * 0x9e3779b1u & (OWNERS - 1);
    while (self.owners[at].run == self.run && self.owners[at].mutex != mutex) {
        at = (at + 1) & (OWNERS - 1);
    }
    if (self.owners[at].run != self.run) {
        self.owners[at].mutex = mutex;
        self.owners[at].run = self.run;
        self.owners[at].owner = NOBODY;
    }
    return &self.owners[at].owner;
}

static unsigned bit(unsigned thread) {
    return 1u << thread;
}

static bool is_bounded(void) {
    return self.settings->mode == MODEL_BOUNDED;
}

/* The event happens before whatever the thread does next. */
static bool is_before(unsigned number, unsigned thread) {
    return self.threads[thread].clock[self.events[number].thread] > (int)number;
}

static bool is_before_event(unsigned number, const event *later) {
    return later->clock[self.events[number].thread] > (int)number;
}

/* If all that happens after the event were to come before it together with what the thread does
 * next, as far as it does not depend on it: the threads that might begin. */
static unsigned beginners(unsigned number, unsigned thread) {
    const step *next = &self.threads[thread].next;
    unsigned began = 0;
    unsigned beginning = 0;
    bool thread_begins = true;
    for (unsigned j = number + 1; j < self.count; j++) {
        const event *at = &self.events[j];
        if (is_before_event(number, at)) {
            continue;
        }
        thread_begins = thread_begins && at->thread != thread && !is_before(j, thread) &&
                        !is_dependent(&at->step, next);
        if ((began & bit(at->thread)) != 0) {
            continue;
        }
        began |= bit(at->thread);
        bool first = true;
        for (unsigned k = number + 1; k < j && first; k++) {
            first = is_before_event(number, &self.events[k]) || !is_before_event(k, at);
        }
        beginning |= first ? bit(at->thread) : 0;
    }
    return beginning | (thread_begins ? bit(thread) : 0);
}

/* A run is owed in which the thread goes on before that event. */
static void owe(unsigned number, unsigned thread) {
    node *at = &self.nodes[number];
    if (is_bounded()) {
        at->owed |= (at->enabled & bit(thread)) != 0 ? bit(thread) : at->enabled;
        return;
    }
    unsigned ways = beginners(number, thread) & at->enabled;
    if (ways == 0) {
        at->owed |= at->enabled;
    } else if ((ways & (at->owed | at->asleep)) == 0) {
        at->owed |= (ways & bit(thread)) != 0 ? bit(thread) : ways & -ways;
    }
}

static void owe_and_before(unsigned number, unsigned thread) {
    owe(number, thread);
    if (is_bounded()) {
        /* Where the preemption that this one needs could have been spared. */
        unsigned block = number;
        while (block > 0 && self.events[block - 1].thread == self.events[number].thread) {
            block--;
        }
        if (block < number) {
            owe(block, thread);
        }
    }
}

/* Events that could as well come after what the thread does next, with nothing between the two. */
static void find_races(unsigned thread) {
    const step *next = &self.threads[thread].next;
    int found = -1;
    if (self.threads[thread].finished) {
        return;
    }
    for (int i = *last_on(next->cell); i >= 0; i = self.events[i].previous) {
        const event *before = &self.events[i];
        if (before->thread != thread && is_dependent(&before->step, next) &&
            may_meet(&before->step, next) && !is_before((unsigned)i, thread) &&
            (found < 0 || !is_before_event((unsigned)i, &self.events[found]))) {
            owe_and_before((unsigned)i, thread);
            found = i;
        }
    }
}

/* Deciding */

static bool is_enabled(unsigned thread) {
    const coroutine *of = &self.threads[thread];
    return !of->finished && (of->next.kind != MODEL_LOCK || *owner_of(of->next.cell) == NOBODY);
}

static unsigned enabled_now(void) {
    unsigned set = 0;
    for (unsigned i = 0; i < self.scenario->threads; i++) {
        set |= is_enabled(i) ? bit(i) : 0;
    }
    return set;
}

static bool is_preemption(unsigned number, unsigned thread) {
    unsigned before = number > 0 ? self.events[number - 1].thread : NOBODY;
    return before != NOBODY && before != thread && (self.nodes[number].enabled & bit(before)) != 0;
}

/* Those of the set that may be chosen at the node: the one that ran first, then by number. */
static unsigned choose(unsigned number, unsigned set) {
    const node *at = &self.nodes[number];
    unsigned before = number > 0 ? self.events[number - 1].thread : NOBODY;
    set &= at->enabled & ~at->asleep & ~at->done;
    if (before != NOBODY && (set & bit(before)) != 0) {
        return before;
    }
    for (unsigned i = 0; i < self.scenario->threads; i++) {
        bool affordable =
            !is_bounded() || !is_preemption(number, i) || at->preemptions < self.settings->bound;
        if ((set & bit(i)) != 0 && affordable) {
            return i;
        }
    }
    return NOBODY;
}

static void make_node(unsigned number) {
    node *at = &self.nodes[number];
    *at = (node){.enabled = enabled_now()};
    if (number > 0) {
        const node *before = &self.nodes[number - 1];
        const event *last = &self.events[number - 1];
        at->preemptions = before->preemptions + is_preemption(number - 1, last->thread);
        unsigned slept = (before->asleep | before->done) & ~bit(last->thread);
        for (unsigned i = 0; self.settings->mode == MODEL_REDUCED && i < self.scenario->threads;
             i++) {
            if ((slept & bit(i)) != 0 && !self.threads[i].finished &&
                !is_dependent(&self.threads[i].next, &last->step)) {
                at->asleep |= bit(i);
            }
        }
    }
    at->chosen = choose(number, at->enabled);
    at->owed = self.settings->mode == MODEL_FULL ? at->enabled
               : at->chosen != NOBODY            ? bit(at->chosen)
                                                 : 0;
}

static void record(unsigned thread) {
    coroutine *of = &self.threads[thread];
    event *made = &self.events[self.count];
    int *last = last_on(of->next.cell);
    made->step = of->next;
    made->thread = thread;
    made->previous = *last;
    bool as_before = self.count + 1 < self.known && self.settings->schedule == NULL;
    for (int i = *last; i >= 0 && !as_before; i = self.events[i].previous) {
        if (is_dependent(&self.events[i].step, &made->step)) {
            for (unsigned q = 0; q < MODEL_THREADS_MAX; q++) {
                int clock = self.events[i].clock[q];
                of->clock[q] = of->clock[q] > clock ? of->clock[q] : clock;
            }
        }
    }
    *last = (int)self.count;
    self.count++;
    of->clock[thread] = (int)self.count;
    memcpy(as_before ? of->clock : made->clock, as_before ? made->clock : of->clock,
           sizeof made->clock);
    if (made->step.kind >= MODEL_LOCK && made->step.kind <= MODEL_UNLOCK) {
        unsigned *owner = owner_of(made->step.cell);
        of->lock_taken = *owner == NOBODY;
        if (made->step.kind == MODEL_UNLOCK) {
            *owner = NOBODY;
        } else if (of->lock_taken) {
            *owner = thread;
        }
    }
}

/* Takes the next step of the run. NOBODY: all are done, or the run is not to be gone on with. */
static unsigned decide(void) {
    unsigned number = self.count;
    /* What was so in the run before was seen there; and threads that did not move are where they
     * were, but for what the last event may mean to them. */
    for (unsigned i = 0; number >= self.known && number > 0 && i < self.scenario->threads; i++) {
        const event *last = &self.events[number - 1];
        if (last->thread == i || last->step.cell == self.threads[i].next.cell) {
            find_races(i);
        }
    }
    unsigned enabled = enabled_now();
    if (enabled == 0) {
        for (unsigned i = 0; i < self.scenario->threads; i++) {
            if (!self.threads[i].finished) {
                model_fail("deadlock: no thread can go on");
            }
        }
        return NOBODY;
    }
    if (number == EVENTS_MAX) {
        model_fail("%d operations and no end", EVENTS_MAX);
    }
    if (number >= self.known) {
        make_node(number);
    } else {
        self.nodes[number].enabled = enabled;
    }
    unsigned thread = self.nodes[number].chosen;
    if (thread == NOBODY) {
        self.abandoned = true;
        return NOBODY;
    }
    if ((self.nodes[number].enabled & bit(thread)) == 0) {
        model_fail("the schedule does not fit: thread %u cannot go on at %u", thread, number);
    }
    record(thread);
    return thread;
}

/* What threads call */

unsigned model_thread(void) {
    return self.running;
}

unsigned model_preemptions(void) {
    unsigned last = self.count - 1;
    return self.count == 0
               ? 0
               : self.nodes[last].preemptions + is_preemption(last, self.events[last].thread);
}

uintptr_t model_thread_name(void) {
    return (uintptr_t)(self.running + 1) << 6;
}

static void check_cell(const volatile void *cell, const model_site *site) {
    const char *wrong = model_check_cell != NULL ? model_check_cell(cell) : NULL;
    if (wrong != NULL) {
        model_fail("%s: %s (%s:%d)", wrong, site->what, site->file, site->line);
    }
}

static bool is_quiet(model_site *site) {
    if (site->noise == MODEL_UNKNOWN) {
        site->noise = MODEL_LOUD;
        for (const char *const *at = model_quiet_functions; at != NULL && *at != NULL; at++) {
            site->noise = strcmp(*at, site->function) == 0 ? MODEL_QUIET : site->noise;
        }
    }
    return site->noise == MODEL_QUIET;
}

void model_reach(const volatile void *cell, model_kind kind, model_site *site) {
    if (self.running != NOBODY && !is_quiet(site)) {
        self.threads[self.running].next = (step){cell, kind, site};
        go_on_with(self.starting ? NOBODY : decide(), false);
    }
    /* Whether it is still there counts now that it is our turn. */
    check_cell(cell, site);
}

int model_mutex_lock(pthread_mutex_t *mutex, model_site *site) {
    model_reach(mutex, MODEL_LOCK, site);
    if (self.running == NOBODY) {
        if (*owner_of(mutex) != NOBODY) {
            model_fail("a lock was kept: %s (%s:%d)", site->what, site->file, site->line);
        }
        *owner_of(mutex) = NOBODY + 1;
    }
    return 0;
}

int model_mutex_trylock(pthread_mutex_t *mutex, model_site *site) {
    model_reach(mutex, MODEL_TRYLOCK, site);
    if (self.running == NOBODY) {
        return model_mutex_lock(mutex, site);
    }
    return self.threads[self.running].lock_taken ? 0 : EBUSY;
}

int model_mutex_unlock(pthread_mutex_t *mutex, model_site *site) {
    unsigned holder = self.running == NOBODY ? NOBODY + 1 : self.running;
    if (*owner_of(mutex) != holder) {
        model_fail("unlock of a lock that is not held: %s (%s:%d)", site->what, site->file,
                   site->line);
    }
    model_reach(mutex, MODEL_UNLOCK, site);
    if (self.running == NOBODY) {
        *owner_of(mutex) = NOBODY;
    }
    return 0;
}

static const char history; /* the cell of beginnings and ends */

void model_invoke(void) {
    static model_site site = {"begin", "-", "-", 0, MODEL_LOUD};
    model_reach(&history, MODEL_INVOKE, &site);
}

void model_return(void) {
    static model_site site = {"end", "-", "-", 0, MODEL_LOUD};
    model_reach(&history, MODEL_RETURN, &site);
}

/* A run */

static void run_thread(void) {
#ifdef MODEL_ASAN
    __sanitizer_finish_switch_fiber(NULL, &self.main_stack, &self.main_size); /* main started us */
#endif
    unsigned mine = self.running;
    self.scenario->body(self.scenario->context, mine);
    self.threads[mine].finished = true;
    self.threads[mine].next.cell = NULL;
    go_on_with(self.starting ? NOBODY : decide(), true);
}

/* Two functions that are no part of their callers: those that return twice would leave variables
 * undefined. */

static __attribute__((noinline)) void make_ready(coroutine *thread) {
    unsigned char *stack = thread->stack;
    memset(thread, 0, sizeof *thread);
    thread->stack = stack;
#ifdef MODEL_ASAN
    __asan_unpoison_memory_region(stack, STACK_BYTES);
#endif
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = thread->stack;
    thread->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&thread->context, run_thread, 0);
}

static void start_threads(void) {
    self.starting = true;
    for (unsigned i = 0; i < self.scenario->threads && !self.abandoned; i++) {
        make_ready(&self.threads[i]);
        go_on_with(i, false);
    }
    self.starting = false;
}

static __attribute__((noinline)) void run_through(void) {
    self.scenario->begin(self.scenario->context);
    start_threads();
    if (!self.abandoned) {
        unsigned first = decide();
        if (first != NOBODY) {
            go_on_with(first, false);
        }
    }
    if (self.result->failure[0] == '\0' && !self.abandoned) {
        self.scenario->end(self.scenario->context);
    }
}

static void run_once(void) {
    self.run++;
    self.count = 0;
    self.abandoned = false;
    self.running = NOBODY;
    if (sigsetjmp(self.failed, 0) == 0) {
        run_through();
    }
    if (self.settings->schedule != NULL || self.result->failure[0] != '\0') {
        tell_run(stdout, self.settings->schedule != NULL ? EVENTS_MAX : TOLD);
        fflush(stdout);
    }
    self.scenario->reset(self.scenario->context);
    self.result->longest = self.count > self.result->longest ? self.count : self.result->longest;
    self.result->runs += !self.abandoned;
    self.result->abandoned += self.abandoned;
}

/* Where the next run parts from this one. False: there is none. */
static bool go_back(void) {
    for (unsigned number = self.count; number-- > 0;) {
        node *at = &self.nodes[number];
        if (at->chosen != NOBODY) {
            at->done |= bit(at->chosen);
        }
        at->chosen = choose(number, at->owed);
        if (at->chosen != NOBODY) {
            self.known = number + 1;
            return true;
        }
    }
    return false;
}

static void read_schedule(const char *text) {
    self.known = 0;
    unsigned thread;
    unsigned times;
    int read;
    while (sscanf(text, "%ux%u%n", &thread, &times, &read) == 2) {
        for (; times > 0 && self.known < EVENTS_MAX; times--) {
            self.nodes[self.known++] = (node){.chosen = thread};
        }
        text += read;
        text += *text == ',';
    }
}

void model_explore(const model_scenario *scenario, const model_settings *settings,
                   model_result *result) {
    *result = (model_result){.runs = 0};
    self.scenario = scenario;
    self.settings = settings;
    self.result = result;
    self.known = 0;
    if (self.threads[0].stack == NULL) {
        for (unsigned i = 0; i < MODEL_THREADS_MAX; i++) {
            self.threads[i].stack =
                mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (self.threads[i].stack == MAP_FAILED) {
                abort();
            }
        }
    }
#ifndef MODEL_ASAN
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGABRT, on_crash);
#endif
    if (settings->schedule != NULL) {
        read_schedule(settings->schedule);
        run_once();
        return;
    }
    do {
        run_once();
        if (settings->runs_max != 0 && result->runs + result->abandoned >= settings->runs_max) {
            return;
        }
    } while (result->failure[0] == '\0' && go_back());
    result->complete = result->failure[0] == '\0';
}
