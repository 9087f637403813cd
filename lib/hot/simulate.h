/* Simulations of a policy within the library: see firn/simulate.h. */
#ifndef FIRN_HOT_SIMULATE_H
#define FIRN_HOT_SIMULATE_H

#include <firn/simulate.h>

#include "base/heap.h"

/* heap: referenced. NULL: no memory. */
firn_simulation *firn_simulation_new(firn_heap *heap, const firn_policy *policy, uint64_t capacity);

#endif
