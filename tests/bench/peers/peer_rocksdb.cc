// RocksDB's block caches, used by themselves. Variant "lru": LRUCache; "clock": HyperClockCache.
//
// HyperClockCache takes keys of exactly 16 bytes, so its keys are padded, and does not replace an
// entry that is there, so an overwrite is an erase and an insert.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <rocksdb/cache.h>
#include <rocksdb/version.h>

#include "peer.h"

namespace {

struct Value {
    size_t size;
    unsigned char bytes[1];
};

struct RocksPeer {
    std::shared_ptr<rocksdb::Cache> cache;
    bool clock;
};

struct Key {
    uint64_t words[2];
    size_t size;
    Key(const RocksPeer *self, uint64_t key) : words{key, 0}, size(self->clock ? 16 : 8) {
    }
    rocksdb::Slice slice() const {
        return rocksdb::Slice(reinterpret_cast<const char *>(words), size);
    }
};

void Delete(const rocksdb::Slice &, void *value) {
    std::free(value);
}

const char *Version() {
    static char text[32];
    std::snprintf(text, sizeof text, "%d.%d.%d", ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
    return text;
}

void *Open(const peer_config *config) {
    bool clock = std::strcmp(config->variant, "clock") == 0;
    std::shared_ptr<rocksdb::Cache> cache;
    if (clock) {
        // Its table has a fixed size, made of this estimate: with a capacity that is far from used
        // up, a larger one keeps the table in proportion to the entries there are.
        size_t spread = config->capacity / (config->expected_entries + config->expected_entries / 4);
        size_t estimate = spread > config->entry_bytes ? spread : config->entry_bytes;
        cache = rocksdb::HyperClockCacheOptions(config->capacity, estimate).MakeSharedCache();
    } else {
        cache = rocksdb::NewLRUCache(config->capacity);
    }
    if (cache == nullptr) {
        std::fprintf(stderr, "rocksdb: the cache cannot be made\n");
        return nullptr;
    }
    return new RocksPeer{cache, clock};
}

void Close(void *context) {
    delete static_cast<RocksPeer *>(context);
}

bool Get(void *context, uint64_t key, uint64_t *sum) {
    auto *self = static_cast<RocksPeer *>(context);
    rocksdb::Cache *cache = self->cache.get();
    rocksdb::Cache::Handle *handle = cache->Lookup(Key(self, key).slice());
    if (handle == nullptr) {
        return false;
    }
    auto *value = static_cast<const Value *>(cache->Value(handle));
    *sum += touch(value->bytes, value->size);
    cache->Release(handle);
    return true;
}

void Put(void *context, uint64_t key, const void *bytes, size_t size, put_hint hint) {
    auto *self = static_cast<RocksPeer *>(context);
    Key name(self, key);
    auto *value = static_cast<Value *>(std::malloc(offsetof(Value, bytes) + size));
    if (value == nullptr) {
        std::abort();
    }
    value->size = size;
    std::memcpy(value->bytes, bytes, size);
    if (self->clock && (hint == PUT_ANY || hint == PUT_STREAM)) {
        self->cache->Erase(name.slice());
    }
    // Without a handle a full cache drops the value and says that all is well.
    if (!self->cache->Insert(name.slice(), value, sizeof key + size, Delete).ok()) {
        std::abort();
    }
}

uint64_t Entries(void *context) {
    uint64_t count = 0;
    static_cast<RocksPeer *>(context)->cache->ApplyToAllEntries(
        [&count](const rocksdb::Slice &, void *, size_t, rocksdb::Cache::DeleterFn) { count++; },
        {});
    return count;
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
