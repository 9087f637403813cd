/* The eviction policies there are. To add one, write a file with its firn_policy, name it here, and
 * add a line to table.c. */
#ifndef FIRN_HOT_POLICY_POLICIES_H
#define FIRN_HOT_POLICY_POLICIES_H

#include <firn/policy.h>

extern const firn_policy firn_lru_policy;
extern const firn_policy firn_slru_policy;
extern const firn_policy firn_clock_policy;
extern const firn_policy firn_sieve_policy;
extern const firn_policy firn_s3fifo_policy;
extern const firn_policy firn_arc_policy;
extern const firn_policy firn_tinylfu_policy;
extern const firn_policy firn_gdsf_policy;
extern const firn_policy firn_auto_policy;

#endif
