/* Lets LMDB itself loose on a data file: reads all of it, changes much of it, reads it again. Every
 * error LMDB returns is fine; the caller sees to what happens when LMDB crashes. For the unit test
 * and the fuzz target of the page check, whose promise is that LMDB will not. */
#ifndef FIRN_TESTS_LMDB_EXERCISE_H
#define FIRN_TESTS_LMDB_EXERCISE_H

#include <lmdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { EXERCISE_DATABASES = 3 };

static const struct {
    const char *name;
    unsigned flags;
} exercise_databases[EXERCISE_DATABASES] = {
    {"records", MDB_INTEGERKEY},
    {"index", MDB_INTEGERKEY},
    {"meta", 0},
};

/* Reads every byte that LMDB says belongs to keys and values. */
static unsigned exercise_touch(const MDB_val *key, const MDB_val *data) {
    const volatile unsigned char *from = key->mv_data;
    unsigned sum = 0;
    for (size_t i = 0; i < key->mv_size; i++) {
        sum += from[i];
    }
    from = data->mv_data;
    for (size_t i = 0; i < data->mv_size; i++) {
        sum += from[i];
    }
    return sum;
}

static void exercise_walk(MDB_txn *txn, MDB_dbi dbi) {
    MDB_cursor *cursor;
    if (mdb_cursor_open(txn, dbi, &cursor) != 0) {
        return;
    }
    MDB_val key;
    MDB_val data;
    for (int rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        (void)exercise_touch(&key, &data);
        MDB_val found;
        (void)mdb_get(txn, dbi, &key, &found);
    }
    for (int rc = mdb_cursor_get(cursor, &key, &data, MDB_LAST); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &data, MDB_PREV)) {
        (void)exercise_touch(&key, &data);
    }
    mdb_cursor_close(cursor);
}

static void exercise_read(MDB_env *env) {
    MDB_txn *txn;
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0) {
        return;
    }
    exercise_walk(txn, 0); /* the free list */
    for (unsigned i = 0; i < EXERCISE_DATABASES; i++) {
        MDB_dbi dbi;
        MDB_stat stat;
        if (mdb_dbi_open(txn, exercise_databases[i].name, exercise_databases[i].flags, &dbi) == 0 &&
            mdb_stat(txn, dbi, &stat) == 0) {
            exercise_walk(txn, dbi);
        }
    }
    mdb_txn_abort(txn);
}

/* Takes away the first `count` entries. */
static int exercise_delete(MDB_txn *txn, MDB_dbi dbi, unsigned count) {
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != 0) {
        return rc;
    }
    MDB_val key;
    MDB_val data;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
        rc = rc == 0 ? mdb_cursor_del(cursor, 0) : rc;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int exercise_put(MDB_txn *txn, MDB_dbi dbi, bool integers, unsigned seed) {
    static const unsigned char filler[9000];
    int rc = 0;
    for (unsigned i = 0; i < 40 && rc == 0; i++) {
        uint64_t number = (uint64_t)(i * 7919 + seed) * UINT64_C(0x9E3779B97F4A7C15);
        number = i % 2 == 0 ? number : number >> 56;
        MDB_val key = {integers ? 8 : 1 + number % 7, &number};
        MDB_val data = {i % 8 == 0 ? sizeof filler : (i * 97) % 900, (void *)(uintptr_t)filler};
        rc = mdb_put(txn, dbi, &key, &data, 0);
    }
    return rc;
}

static int exercise_change(MDB_txn *txn, unsigned seed) {
    int rc = 0;
    for (unsigned i = 0; i < EXERCISE_DATABASES && rc == 0; i++) {
        MDB_dbi dbi;
        if (mdb_dbi_open(txn, exercise_databases[i].name, exercise_databases[i].flags, &dbi) != 0) {
            continue;
        }
        bool integers = exercise_databases[i].flags != 0;
        rc = exercise_delete(txn, dbi, seed % 2 == 0 ? 30 : 3);
        rc = rc == 0 ? exercise_put(txn, dbi, integers, seed) : rc;
        rc = rc == 0 ? exercise_delete(txn, dbi, 10) : rc;
        if (rc == 0 && seed % 4 == 3) {
            rc = mdb_drop(txn, dbi, 0);
        }
    }
    return rc;
}

static void exercise_write(MDB_env *env, unsigned seed) {
    MDB_txn *txn;
    if (mdb_txn_begin(env, NULL, 0, &txn) != 0) {
        return;
    }
    if (exercise_change(txn, seed) == 0) {
        (void)mdb_txn_commit(txn);
    } else {
        mdb_txn_abort(txn);
    }
}

/* path: of the data file itself. */
static void lmdb_exercise(const char *path) {
    MDB_env *env;
    if (mdb_env_create(&env) != 0) {
        return;
    }
    if (mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_set_mapsize(env, 16 << 20) == 0 &&
        mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600) == 0) {
        exercise_read(env);
        for (unsigned i = 0; i < 4; i++) {
            exercise_write(env, i);
            exercise_read(env);
        }
    }
    mdb_env_close(env);
}

#endif
