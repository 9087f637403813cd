/* Included before everything else in the sources of the library that are compiled for the explorer:
 * atomic operations and locks stop there first (see explorer.h), and variables of a thread are
 * those of the coroutine.
 *
 * Only the operations that the library uses are here: others, and operators on atomic objects,
 * would go unseen, and are not used in it. An operation of the weak kind does not fail without a
 * reason. */
#ifndef FIRN_TESTS_SHIM_H
#define FIRN_TESTS_SHIM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "model/interleave/explorer.h"

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_fetch_and
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit

#define MODEL_SITE(text)                                                                           \
    __extension__({                                                                                \
        static model_site model_here = {text, __FILE__, __func__, __LINE__, MODEL_UNKNOWN};        \
        &model_here;                                                                               \
    })

/* Operands are evaluated before the stop: they may stop themselves. */
#define atomic_load_explicit(object, order)                                                        \
    __extension__({                                                                                \
        __auto_type model_at = (object);                                                           \
        model_reach(model_at, MODEL_READ, MODEL_SITE("load " #object));                            \
        __typeof__((void)0, *model_at) model_got = *model_at;                                      \
        model_got;                                                                                 \
    })

#define atomic_store_explicit(object, value, order)                                                \
    __extension__({                                                                                \
        __auto_type model_at = (object);                                                           \
        __typeof__((void)0, *model_at) model_new = (value);                                        \
        model_reach(model_at, MODEL_WRITE, MODEL_SITE("store " #object));                          \
        *model_at = model_new;                                                                     \
        (void)0;                                                                                   \
    })

#define MODEL_CHANGE(object, text, expression)                                                     \
    __extension__({                                                                                \
        __auto_type model_at = (object);                                                           \
        __typeof__((void)0, *model_at) model_operand = (expression);                               \
        model_reach(model_at, MODEL_WRITE, MODEL_SITE(text " " #object));                          \
        __typeof__((void)0, *model_at) model_old = *model_at;                                      \
        *model_at = MODEL_CHANGED;                                                                 \
        model_old;                                                                                 \
    })
#define MODEL_CHANGED (model_old + model_operand)

#define atomic_fetch_add_explicit(object, value, order) MODEL_CHANGE(object, "add to", value)
/* Unsigned, so that to take off is to add what is left to the whole. */
#define atomic_fetch_sub_explicit(object, value, order)                                            \
    MODEL_CHANGE(object, "take off", 0 - (__typeof__((void)0, *(object)))(value))

#define atomic_fetch_and_explicit(object, value, order)                                            \
    __extension__({                                                                                \
        __auto_type model_at = (object);                                                           \
        __typeof__((void)0, *model_at) model_operand = (value);                                    \
        model_reach(model_at, MODEL_WRITE, MODEL_SITE("and " #object));                            \
        __typeof__((void)0, *model_at) model_old = *model_at;                                      \
        *model_at = model_old & model_operand;                                                     \
        model_old;                                                                                 \
    })

#define atomic_exchange_explicit(object, value, order)                                             \
    __extension__({                                                                                \
        __auto_type model_at = (object);                                                           \
        __typeof__((void)0, *model_at) model_new = (value);                                        \
        model_reach(model_at, MODEL_WRITE, MODEL_SITE("exchange " #object));                       \
        __typeof__((void)0, *model_at) model_old = *model_at;                                      \
        *model_at = model_new;                                                                     \
        model_old;                                                                                 \
    })

#define atomic_compare_exchange_strong_explicit(object, expected, desired, success, failure)       \
    __extension__({                                                                                \
        __auto_type model_at = (object);                                                           \
        __auto_type model_expected = (expected);                                                   \
        __typeof__((void)0, *model_at) model_new = (desired);                                      \
        model_reach(model_at, MODEL_WRITE, MODEL_SITE("compare and exchange " #object));           \
        __typeof__((void)0, *model_at) model_old = *model_at;                                      \
        bool model_same = model_old == *model_expected;                                            \
        if (model_same) {                                                                          \
            *model_at = model_new;                                                                 \
        } else {                                                                                   \
            *model_expected = model_old;                                                           \
        }                                                                                          \
        model_same;                                                                                \
    })
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit

#define pthread_mutex_lock(mutex)    model_mutex_lock(mutex, MODEL_SITE("lock " #mutex))
#define pthread_mutex_trylock(mutex) model_mutex_trylock(mutex, MODEL_SITE("try to lock " #mutex))
#define pthread_mutex_unlock(mutex)  model_mutex_unlock(mutex, MODEL_SITE("unlock " #mutex))

/* Who a thread is, to the counters of events. */
#define __builtin_thread_pointer() ((void *)model_thread_name())
#define pthread_self()             model_thread_name()

/* Such variables lie together, and are exchanged when another coroutine goes on. */
#define _Thread_local __attribute__((section("model_thread")))

#endif
