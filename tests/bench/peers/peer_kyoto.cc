// Kyoto Cabinet's CacheDB. Values are read in place, with a visitor: get would copy them.
#include <cstdio>
#include <cstdlib>

#include <kccachedb.h>

#include "peer.h"

namespace {

class Toucher final : public kyotocabinet::DB::Visitor {
  public:
    explicit Toucher(uint64_t *sum) : sum_(sum) {
    }
    bool found = false;

  private:
    const char *visit_full(const char *, size_t, const char *value, size_t size,
                           size_t *) override {
        *sum_ += touch(value, size);
        found = true;
        return NOP;
    }
    uint64_t *sum_;
};

const char *Version() {
    return kyotocabinet::VERSION;
}

void *Open(const peer_config *config) {
    auto *db = new kyotocabinet::CacheDB;
    db->tune_buckets(static_cast<int64_t>(config->expected_entries));
    db->cap_size(static_cast<int64_t>(config->capacity));
    if (!db->open("*", kyotocabinet::CacheDB::OWRITER | kyotocabinet::CacheDB::OCREATE)) {
        std::fprintf(stderr, "kyoto: %s\n", db->error().message());
        delete db;
        return nullptr;
    }
    return db;
}

void Close(void *context) {
    auto *db = static_cast<kyotocabinet::CacheDB *>(context);
    db->close();
    delete db;
}

bool Get(void *context, uint64_t key, uint64_t *sum) {
    Toucher toucher(sum);
    static_cast<kyotocabinet::CacheDB *>(context)->accept(reinterpret_cast<const char *>(&key),
                                                          sizeof key, &toucher, false);
    return toucher.found;
}

void Put(void *context, uint64_t key, const void *value, size_t size, put_hint) {
    auto *db = static_cast<kyotocabinet::CacheDB *>(context);
    if (!db->set(reinterpret_cast<const char *>(&key), sizeof key,
                 static_cast<const char *>(value), size)) {
        std::fprintf(stderr, "kyoto: put: %s\n", db->error().message());
        std::exit(1);
    }
}

uint64_t Entries(void *context) {
    return static_cast<uint64_t>(static_cast<kyotocabinet::CacheDB *>(context)->count());
}

peer Describe() {
    peer self = {};
    self.can = PEER_ALL;
    self.slow = 1;
    self.version = Version;
    self.open = Open;
    self.close = Close;
    self.get = Get;
    self.put = Put;
    self.entries = Entries;
    return self;
}

} // namespace

extern "C" {
extern const peer this_peer;
const peer this_peer = Describe();
}
