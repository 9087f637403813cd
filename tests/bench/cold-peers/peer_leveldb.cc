// LevelDB with snappy, the only compression it has, and a Bloom filter of 10 bits a key. Its log
// cannot be left out, and is not synced but at the end.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>

#include "peer.h"

namespace {

struct Store {
    leveldb::DB *db;
    const leveldb::FilterPolicy *filter;
    leveldb::Cache *cache;
    std::string value;
};

void Need(const leveldb::Status &status) {
    if (!status.ok()) {
        std::fprintf(stderr, "leveldb: %s\n", status.ToString().c_str());
        std::exit(1);
    }
}

leveldb::Slice Name(const uint64_t &key) {
    return leveldb::Slice(reinterpret_cast<const char *>(&key), sizeof key);
}

const char *Version() {
    static char text[32];
    std::snprintf(text, sizeof text, "%d.%d", leveldb::kMajorVersion, leveldb::kMinorVersion);
    return text;
}

void *Open(const peer_config *config) {
    auto *self = new Store{nullptr, leveldb::NewBloomFilterPolicy(10),
                           leveldb::NewLRUCache(config->cache_bytes), std::string()};
    leveldb::Options options;
    options.create_if_missing = true;
    options.compression = leveldb::kSnappyCompression;
    options.filter_policy = self->filter;
    options.block_cache = self->cache;
    options.write_buffer_size = config->buffer_bytes;
    leveldb::Status status = leveldb::DB::Open(options, config->folder, &self->db);
    if (!status.ok()) {
        std::fprintf(stderr, "leveldb: %s\n", status.ToString().c_str());
        return nullptr;
    }
    return self;
}

void Close(void *context) {
    auto *self = static_cast<Store *>(context);
    delete self->db;
    delete self->cache;
    delete self->filter;
    delete self;
}

bool Get(void *context, uint64_t key, const void **value, size_t *size) {
    auto *self = static_cast<Store *>(context);
    leveldb::Status status = self->db->Get(leveldb::ReadOptions(), Name(key), &self->value);
    if (status.IsNotFound()) {
        return false;
    }
    Need(status);
    *value = self->value.data();
    *size = self->value.size();
    return true;
}

void Put(void *context, uint64_t key, const void *value, size_t size) {
    Need(static_cast<Store *>(context)->db->Put(
        leveldb::WriteOptions(), Name(key),
        leveldb::Slice(static_cast<const char *>(value), size)));
}

// Its way to write the memtable out is to compact a range; an empty one before all keys does that
// much and no more. A write that is synced brings the log down with it.
void Sync(void *context) {
    auto *self = static_cast<Store *>(context);
    leveldb::WriteOptions synced;
    synced.sync = true;
    Need(self->db->Delete(synced, leveldb::Slice("")));
    leveldb::Slice first("");
    self->db->CompactRange(&first, &first);
}

peer Describe() {
    peer self = {};
    self.version = Version;
    self.open = Open;
    self.close = Close;
    self.get = Get;
    self.put = Put;
    self.sync = Sync;
    return self;
}

} // namespace

extern "C" {
extern const peer this_peer;
const peer this_peer = Describe();
}
