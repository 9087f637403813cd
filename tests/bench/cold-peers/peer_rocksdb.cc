// RocksDB with zstd (level 3) and a Bloom filter of 10 bits a key. No log: what waits in the
// memtable is lost with the process, as what waits in firn's queue. With a budget, FIFO compaction,
// which is its way to be a cache.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>

#include "peer.h"

namespace {

struct Store {
    rocksdb::DB *db;
    rocksdb::PinnableSlice value;
    rocksdb::WriteOptions writing;
    rocksdb::ReadOptions reading;
};

void Need(const rocksdb::Status &status) {
    if (!status.ok()) {
        std::fprintf(stderr, "rocksdb: %s\n", status.ToString().c_str());
        std::exit(1);
    }
}

rocksdb::Slice Name(const uint64_t &key) {
    return rocksdb::Slice(reinterpret_cast<const char *>(&key), sizeof key);
}

const char *Version() {
    static char text[32];
    std::snprintf(text, sizeof text, "%d.%d.%d", ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
    return text;
}

void *Open(const peer_config *config) {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(config->cache_bytes);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kZSTD;
    options.compression_opts.level = 3;
    options.write_buffer_size = config->buffer_bytes;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    if (config->disk_bytes < (uint64_t{1} << 30)) {
        options.compaction_style = rocksdb::kCompactionStyleFIFO;
        options.compaction_options_fifo.max_table_files_size = config->disk_bytes;
        // A file is what it drops at a time: an eighth of the budget at the most.
        options.write_buffer_size = config->disk_bytes / 8;
    }
    auto *self = new Store;
    self->writing.disableWAL = true;
    rocksdb::Status status = rocksdb::DB::Open(options, config->folder, &self->db);
    if (!status.ok()) {
        std::fprintf(stderr, "rocksdb: %s\n", status.ToString().c_str());
        return nullptr;
    }
    return self;
}

bool Get(void *context, uint64_t key, const void **value, size_t *size) {
    auto *self = static_cast<Store *>(context);
    self->value.Reset();
    rocksdb::Status status =
        self->db->Get(self->reading, self->db->DefaultColumnFamily(), Name(key), &self->value);
    if (status.IsNotFound()) {
        return false;
    }
    Need(status);
    *value = self->value.data();
    *size = self->value.size();
    return true;
}

void Put(void *context, uint64_t key, const void *value, size_t size) {
    auto *self = static_cast<Store *>(context);
    Need(self->db->Put(self->writing, Name(key),
                       rocksdb::Slice(static_cast<const char *>(value), size)));
}

uint64_t Property(const Store *self, const std::string &name) {
    uint64_t value = 0;
    self->db->GetIntProperty(name, &value);
    return value;
}

void Sync(void *context) {
    auto *self = static_cast<Store *>(context);
    Need(self->db->Flush(rocksdb::FlushOptions()));
    while (Property(self, rocksdb::DB::Properties::kCompactionPending) != 0 ||
           Property(self, rocksdb::DB::Properties::kNumRunningCompactions) != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

void Close(void *context) {
    auto *self = static_cast<Store *>(context);
    self->value.Reset();
    Need(self->db->Flush(rocksdb::FlushOptions()));
    Need(self->db->Close());
    delete self->db;
    delete self;
}

peer Describe() {
    peer self = {};
    self.kind = PEER_EVICTS;
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
