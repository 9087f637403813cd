/* The cold tier: its dictionaries. See cold.h, and cold_internal.h for who does the rest.
 *
 * A dictionary is stored, and on the device, before the first record is made with it. From then on
 * no record is made with an older one, so it tells of each older one where its records end: before
 * this one's first sequence. A record that is written once more is made with the one in use.
 * Records go from the old end, so once the oldest record is beyond that, the older dictionary is
 * needed no more. Nothing has to be counted, and nothing can be forgotten by a crash.
 *
 * Ids are drawn, not counted: should a store ever lose a dictionary and keep its records, another
 * one must not pass for it. They are such that two bytes of a record hold them.
 *
 * Training goes on beside the writer; taking what came of it into use is the writer's. */
#include "base/hash.h"
#include "cold/cold_internal.h"

enum {
    LOOK_EVERY = 4096, /* writes between looks for dictionaries that are not needed */
    ID_MIN = 1 << 7,   /* of those that are given; a varint of two bytes */
    ID_END = 1 << 14,
};

/* ---- what is on the shelf ---- */

int firn_cold_next_dictionary(firn_cold *cold, uint32_t from, firn_dictionary_info *info) {
    firn_backend_session *session;
    int result = cold->ops->session_new(cold->backend, &session);
    if (result != FIRN_OK) {
        return result;
    }
    result = cold->ops->read_begin(session);
    if (result == FIRN_OK) {
        result = firn_dictionary_next(cold->ops, session, from, info);
        cold->ops->read_end(session);
    }
    cold->ops->session_free(session);
    return result;
}

/* Puts it where its age is. There is room. */
static void shelve(firn_cold_shelf *shelf, uint32_t id, uint64_t first_sequence) {
    size_t place = shelf->count++;
    for (; place > 0 && shelf->places[place - 1].first_sequence > first_sequence; place--) {
        shelf->places[place] = shelf->places[place - 1];
    }
    shelf->places[place].id = id;
    shelf->places[place].first_sequence = first_sequence;
}

/* More than the shelf holds were not put there by this library, and are left alone. */
int firn_cold_survey_dictionaries(firn_cold *cold) {
    firn_cold_shelf *shelf = &cold->shelf;
    *shelf = (firn_cold_shelf){.count = 0};
    firn_dictionary_info found = {.id = 0};
    int result;
    while (shelf->count < FIRN_COLD_SHELF_MAX && found.id < UINT32_MAX &&
           (result = firn_cold_next_dictionary(cold, found.id + 1, &found)) != FIRN_NOT_FOUND) {
        if (result != FIRN_OK) {
            return result;
        }
        shelve(shelf, found.id, found.damaged ? 0 : found.first_sequence);
    }
    size_t newest = shelf->count - 1;
    shelf->wanted =
        shelf->count > 0 && shelf->places[newest].first_sequence > 0 ? shelf->places[newest].id : 0;
    return FIRN_OK;
}

/* ---- taking one into use ---- */

static int load(firn_cold *cold, uint32_t id, firn_dictionary **dictionary) {
    firn_backend_session *session;
    int result = cold->ops->session_new(cold->backend, &session);
    if (result != FIRN_OK) {
        return result;
    }
    result = cold->ops->read_begin(session);
    if (result == FIRN_OK) {
        const char *wrong;
        result =
            firn_dictionaries_get(&cold->dictionaries, cold->ops, session, id, dictionary, &wrong);
        cold->ops->read_end(session);
    }
    cold->ops->session_free(session);
    return result;
}

/* What an earlier process left is used when the first record is written. */
static void use_stored(firn_cold *cold) {
    firn_dictionary *dictionary;
    int result = load(cold, cold->shelf.wanted, &dictionary);
    if (result == FIRN_OK && !firn_encoding_use(cold->encoding, dictionary)) {
        result = FIRN_ENOMEM;
    }
    if (result != FIRN_ENOMEM) {
        cold->shelf.wanted = 0;
    }
}

static bool is_taken(const firn_cold_shelf *shelf, uint32_t id) {
    for (size_t i = 0; i < shelf->count; i++) {
        if (shelf->places[i].id == id) {
            return true;
        }
    }
    return false;
}

/* An id that is not on the shelf, nor known to readers from earlier. */
static uint32_t draw_id(const firn_cold *cold) {
    uint32_t id;
    do {
        id = (uint32_t)(ID_MIN + firn_random64() % (ID_END - ID_MIN));
    } while (is_taken(&cold->shelf, id) || firn_dictionaries_find(&cold->dictionaries, id) != NULL);
    return id;
}

/* FIRN_OK, or why it has to be tried again. */
static int store(firn_cold *cold, firn_dictionary *dictionary) {
    firn_bytes blob = {.size = FIRN_DICTIONARY_HEAD + dictionary->size};
    unsigned char *bytes = firn_heap_alloc(cold->heap, blob.size);
    if (bytes == NULL) {
        return FIRN_ENOMEM;
    }
    dictionary->id = draw_id(cold);
    firn_backend_usage usage;
    cold->ops->usage(cold->backend, &usage);
    dictionary->first_sequence = usage.next_sequence;
    firn_dictionary_pack(dictionary, bytes);
    blob.data = bytes;
    int result = cold->ops->put_blob(cold->backend, dictionary->id, &blob);
    firn_heap_free(cold->heap, bytes, blob.size);
    return result;
}

static void use_new(firn_cold *cold, firn_dictionary *candidate) {
    firn_trainer *trainer = firn_encoding_trainer(cold->encoding);
    firn_cold_shelf *shelf = &cold->shelf;
    if (shelf->count == FIRN_COLD_SHELF_MAX) {
        firn_trainer_settle(trainer, false);
        return;
    }
    if (store(cold, candidate) != FIRN_OK) {
        return;
    }
    shelve(shelf, candidate->id, candidate->first_sequence);
    shelf->wanted = 0;
    firn_trainer_settle(trainer, true);
    candidate = firn_dictionaries_add(&cold->dictionaries, candidate);
    (void)firn_encoding_use(cold->encoding, candidate); /* it comes ready for that */
}

/* ---- taking one away ---- */

/* Unless a later one tells that all records are beyond this one's last. */
static bool is_needed(const firn_cold_shelf *shelf, size_t place, uint64_t oldest) {
    uint64_t first = shelf->places[place].first_sequence;
    for (size_t i = place + 1; i < shelf->count; i++) {
        uint64_t later = shelf->places[i].first_sequence;
        if (later > first && later <= oldest) {
            return false;
        }
    }
    return true;
}

static void remove_unneeded(firn_cold *cold) {
    firn_cold_shelf *shelf = &cold->shelf;
    firn_backend_usage usage;
    cold->ops->usage(cold->backend, &usage);
    uint64_t oldest = usage.oldest_sequence;
    size_t kept = 0;
    for (size_t i = 0; i < shelf->count; i++) {
        uint32_t id = shelf->places[i].id;
        int result = is_needed(shelf, i, oldest) ? FIRN_BACKEND_FULL
                                                 : cold->ops->remove_blob(cold->backend, id);
        if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
            shelf->places[kept++] = shelf->places[i];
        }
    }
    if (kept < shelf->count) {
        shelf->count = kept;
    }
}

/* ---- the two ways in ---- */

void firn_cold_tend_dictionaries(firn_cold *cold) {
    firn_trainer *trainer = firn_encoding_trainer(cold->encoding);
    firn_dictionary *candidate = trainer != NULL ? firn_trainer_candidate(trainer) : NULL;
    if (candidate != NULL) {
        use_new(cold, candidate);
    } else if (trainer != NULL && cold->shelf.wanted != 0) {
        use_stored(cold);
    }
    if (cold->shelf.writes++ % LOOK_EVERY == 0 || candidate != NULL) {
        remove_unneeded(cold);
    }
}

bool firn_cold_maintain(firn_cold *cold) {
    firn_trainer *trainer = cold->encoding != NULL ? firn_encoding_trainer(cold->encoding) : NULL;
    if (trainer == NULL || !firn_trainer_ready(trainer)) {
        return false;
    }
    firn_trainer_train(trainer);
    return true;
}
