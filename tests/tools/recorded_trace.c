/* Makes a recording for the tests of the tools: recorded_trace FILE RATE. A skewed stream of gets
 * over 3,000 keys; misses are put, but one key in ten is nowhere; some are overwritten, and some
 * deleted. It is the same in each run, but for the hashes. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <firn/firn.h>

enum { KEYS = 3000, REQUESTS = 60000 };

static int ask(firn_cache *cache, uint64_t key, uint64_t number) {
    static const char value[1100];
    size_t size = 100 + (size_t)(key * 37 % 1000);
    firn_object *object;
    int result = firn_get(cache, &key, sizeof key, &object);
    firn_object_unref(object);
    bool put = result == FIRN_NOT_FOUND ? key % 10 != 0 : number % 50 == 0;
    if (result >= 0 && put) {
        result = firn_put(cache, &key, sizeof key, value, size, NULL);
    }
    if (result >= 0 && number % 100 == 0) {
        result = firn_delete(cache, &key, sizeof key);
    }
    return result;
}

int main(int argc, char **argv) {
    firn_options options = FIRN_OPTIONS_INIT;
    firn_record_options recording = FIRN_RECORD_OPTIONS_INIT;
    firn_cache *cache;
    char why[256] = "";
    options.hot_bytes = 512 << 10;
    options.threads = 0;
    if (argc != 3) {
        return 2;
    }
    recording.sampling_rate = atof(argv[2]);
    int result = firn_open(&cache, NULL, &options);
    if (result != FIRN_OK) {
        return 1;
    }
    result = firn_record_start(cache, argv[1], &recording);
    uint64_t state = 1;
    for (uint64_t i = 0; i < REQUESTS && result >= 0; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t drawn = state >> 33;
        result = ask(cache, drawn % (drawn >> 16 & 1 ? KEYS : KEYS / 10), i);
        if (result >= 0 && i % 1000 == 0) {
            result = firn_run(cache, 0);
        }
    }
    if (result >= 0) {
        result = firn_record_stop(cache);
    }
    firn_last_message(cache, why, sizeof why);
    if (result < 0) {
        fprintf(stderr, "recorded_trace: %s: %s\n", firn_strerror(result), why);
    }
    return firn_close(cache) == FIRN_OK && result >= 0 ? 0 : 1;
}
