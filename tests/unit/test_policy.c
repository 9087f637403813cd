/* The hot tier by itself: what every policy must do, and what each is named for. */
#include <stdio.h>
#include <string.h>

#include "hot/hot.h"
#include "unit/suite.h"

static firn_object *put(firn_hot *hot, firn_heap *heap, uint64_t hash) {
    firn_object *object = firn_object_new(heap, hash, &hash, sizeof hash, 10);
    firn_hot_shard *shard = firn_hot_lock(hot, hash);
    ck_assert_int_eq(firn_hot_reserve_locked(shard), FIRN_OK);
    firn_hot_insert_locked(shard, object, NULL, FIRN_RESIDENT);
    firn_hot_unlock(shard);
    firn_object_unref(object); /* the index keeps it */
    return object;
}

static void hit(firn_hot *hot, firn_object *object) {
    firn_hot_shard *shard = firn_hot_lock(hot, object->hash);
    firn_hot_hit_locked(shard, object);
    firn_hot_unlock(shard);
}

static uint64_t evict(firn_hot *hot) {
    firn_hot_shard *shard = firn_hot_lock_next(hot);
    firn_object *victim = firn_hot_victim_locked(shard);
    uint64_t hash = 0;
    if (victim != NULL) {
        hash = victim->hash;
        firn_hot_remove_locked(shard, victim);
    }
    firn_hot_unlock(shard);
    firn_object_unref(victim);
    return hash;
}

START_TEST(every_policy_gives_back_each_object_once) {
    for (unsigned i = 0; firn_policy_name(i) != NULL; i++) {
        const firn_policy_ops *policy = firn_policy_find(firn_policy_name(i));
        ck_assert_str_eq(policy->name, firn_policy_name(i));
        firn_heap *heap = firn_heap_new(NULL);
        firn_hot *hot = firn_hot_new(heap, policy, 1);
        firn_object *objects[200];
        bool gone[201] = {false};
        for (uint64_t n = 0; n < 200; n++) {
            objects[n] = put(hot, heap, n + 1);
            if (n % 3 == 0) {
                hit(hot, objects[n / 2]);
            }
        }
        unsigned walked = 0;
        firn_hot_shard *shard = firn_hot_lock_number(hot, 0);
        firn_object *at = NULL;
        while ((at = firn_hot_walk_locked(shard, at, FIRN_HOTTEST_FIRST)) != NULL) {
            walked++;
        }
        while ((at = firn_hot_walk_locked(shard, at, FIRN_COLDEST_FIRST)) != NULL) {
            walked++;
        }
        firn_hot_unlock(shard);
        ck_assert_uint_eq(walked, 400);
        for (unsigned n = 0; n < 200; n++) {
            uint64_t hash = evict(hot);
            ck_assert_uint_ge(hash, 1);
            ck_assert(!gone[hash]);
            gone[hash] = true;
        }
        ck_assert_uint_eq(evict(hot), 0);
        ck_assert_uint_eq(firn_hot_held_bytes(hot), firn_hot_table_bytes(hot));
        ck_assert_uint_eq(firn_hot_resident_entries(hot), 0);
        firn_hot_free(hot);
        ck_assert_uint_eq(firn_heap_object_bytes(heap), 0);
        firn_heap_unref(heap);
    }
    ck_assert_ptr_null(firn_policy_find("nonesuch"));
}
END_TEST

START_TEST(lru_evicts_what_was_used_longest_ago) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_hot *hot = firn_hot_new(heap, firn_policy_find("lru"), 1);
    firn_object *objects[5];
    for (uint64_t n = 0; n < 5; n++) {
        objects[n] = put(hot, heap, n + 1);
    }
    hit(hot, objects[0]);
    hit(hot, objects[2]);
    const uint64_t order[] = {2, 4, 5, 1, 3};
    for (unsigned n = 0; n < 5; n++) {
        ck_assert_uint_eq(evict(hot), order[n]);
    }
    firn_hot_free(hot);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(sieve_spares_what_was_hit_and_keeps_its_hand) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_hot *hot = firn_hot_new(heap, firn_policy_find("sieve"), 1);
    firn_object *objects[6];
    for (uint64_t n = 0; n < 5; n++) {
        objects[n] = put(hot, heap, n + 1);
    }
    hit(hot, objects[0]);
    hit(hot, objects[2]);
    ck_assert_uint_eq(evict(hot), 2); /* 1 is spared, the hand moves on to 3 */
    ck_assert_uint_eq(evict(hot), 4); /* 3 is spared */
    put(hot, heap, 6);
    ck_assert_uint_eq(evict(hot), 5);
    ck_assert_uint_eq(evict(hot), 6);
    ck_assert_uint_eq(evict(hot), 1); /* round again: its mark is gone */
    ck_assert_uint_eq(evict(hot), 3);
    firn_hot_free(hot);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(the_table_finds_all_through_growth_and_removal) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_hot *hot = firn_hot_new(heap, firn_policy_find(NULL), 4);
    /* Hashes that meet in few slots, and some that are equal but for the key. */
    enum { COUNT = 3000 };
    for (uint64_t n = 0; n < COUNT; n++) {
        uint64_t hash = (n % 4) << 62 | (n % 50);
        firn_object *object = firn_object_new(heap, hash, &n, sizeof n, 0);
        firn_hot_shard *shard = firn_hot_lock(hot, hash);
        ck_assert_ptr_null(firn_hot_find_locked(shard, hash, &n, sizeof n));
        ck_assert_int_eq(firn_hot_reserve_locked(shard), FIRN_OK);
        firn_hot_insert_locked(shard, object, NULL, FIRN_RESIDENT);
        firn_hot_unlock(shard);
        firn_object_unref(object);
    }
    for (uint64_t n = 0; n < COUNT; n += 2) {
        uint64_t hash = (n % 4) << 62 | (n % 50);
        firn_hot_shard *shard = firn_hot_lock(hot, hash);
        firn_object *object = firn_hot_find_locked(shard, hash, &n, sizeof n);
        ck_assert_ptr_nonnull(object);
        firn_hot_remove_locked(shard, object);
        firn_hot_unlock(shard);
        firn_object_unref(object);
    }
    for (uint64_t n = 0; n < COUNT; n++) {
        uint64_t hash = (n % 4) << 62 | (n % 50);
        firn_hot_shard *shard = firn_hot_lock(hot, hash);
        ck_assert_int_eq(firn_hot_find_locked(shard, hash, &n, sizeof n) != NULL, n % 2 == 1);
        firn_hot_unlock(shard);
    }
    firn_hot_free(hot);
    firn_heap_unref(heap);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, every_policy_gives_back_each_object_once);
    tcase_add_test(tcase, lru_evicts_what_was_used_longest_ago);
    tcase_add_test(tcase, sieve_spares_what_was_hit_and_keeps_its_hand);
    tcase_add_test(tcase, the_table_finds_all_through_growth_and_removal);
}

int main(void) {
    return run_suite("policy", add, 60);
}
