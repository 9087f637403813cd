// Tkrzw's CacheDBM. Values are read in place, with a processor: Get would copy them.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <tkrzw_dbm_cache.h>
#include <tkrzw_lib_common.h>

#include "peer.h"

namespace {

class Toucher final : public tkrzw::DBM::RecordProcessor {
  public:
    explicit Toucher(uint64_t *sum) : sum_(sum) {
    }
    std::string_view ProcessFull(std::string_view, std::string_view value) override {
        *sum_ += touch(value.data(), value.size());
        found = true;
        return NOOP;
    }
    bool found = false;

  private:
    uint64_t *sum_;
};

std::string_view View(const uint64_t *key) {
    return std::string_view(reinterpret_cast<const char *>(key), sizeof *key);
}

const char *Version() {
    return tkrzw::PACKAGE_VERSION;
}

void *Open(const peer_config *config) {
    // The number of records makes the number of buckets; bytes are what should bind.
    int64_t records = static_cast<int64_t>(config->expected_entries + config->expected_entries / 4);
    return new tkrzw::CacheDBM(records, static_cast<int64_t>(config->capacity));
}

void Close(void *context) {
    delete static_cast<tkrzw::CacheDBM *>(context);
}

bool Get(void *context, uint64_t key, uint64_t *sum) {
    Toucher toucher(sum);
    static_cast<tkrzw::CacheDBM *>(context)->Process(View(&key), &toucher, false);
    return toucher.found;
}

void Put(void *context, uint64_t key, const void *value, size_t size, put_hint) {
    tkrzw::Status status = static_cast<tkrzw::CacheDBM *>(context)->Set(
        View(&key), std::string_view(static_cast<const char *>(value), size));
    if (!status.IsOK()) {
        std::fprintf(stderr, "tkrzw: put: %s\n", tkrzw::ToString(status).c_str());
        std::exit(1);
    }
}

uint64_t Entries(void *context) {
    return static_cast<uint64_t>(static_cast<tkrzw::CacheDBM *>(context)->CountSimple());
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
