// Tkrzw's HashDBM, which writes in place. Variant "": values as they are; "zstd": each compressed
// by it with zstd. Two buckets a record.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <tkrzw_dbm_hash.h>
#include <tkrzw_lib_common.h>

#include "peer.h"

namespace {

struct Store {
    tkrzw::HashDBM dbm;
    std::string value;
};

void Need(const tkrzw::Status &status) {
    if (!status.IsOK()) {
        std::fprintf(stderr, "tkrzw: %s\n", tkrzw::ToString(status).c_str());
        std::exit(1);
    }
}

std::string_view Name(const uint64_t &key) {
    return std::string_view(reinterpret_cast<const char *>(&key), sizeof key);
}

const char *Version() {
    return tkrzw::PACKAGE_VERSION;
}

void *Open(const peer_config *config) {
    tkrzw::HashDBM::TuningParameters tuning;
    tuning.num_buckets = static_cast<int64_t>(config->keys * 2);
    if (std::strcmp(config->variant, "zstd") == 0) {
        tuning.record_comp_mode = tkrzw::HashDBM::RECORD_COMP_ZSTD;
        if (!tkrzw::HashDBM::CheckRecordCompressionModeIsSupported(tuning.record_comp_mode)) {
            std::fprintf(stderr, "tkrzw: built without zstd\n");
            return nullptr;
        }
    }
    auto *self = new Store;
    tkrzw::Status status = self->dbm.OpenAdvanced(std::string(config->folder) + "/store.tkh", true,
                                                  tkrzw::File::OPEN_DEFAULT, tuning);
    if (!status.IsOK()) {
        std::fprintf(stderr, "tkrzw: %s\n", tkrzw::ToString(status).c_str());
        return nullptr;
    }
    return self;
}

void Close(void *context) {
    auto *self = static_cast<Store *>(context);
    Need(self->dbm.Close());
    delete self;
}

bool Get(void *context, uint64_t key, const void **value, size_t *size) {
    auto *self = static_cast<Store *>(context);
    tkrzw::Status status = self->dbm.Get(Name(key), &self->value);
    if (status == tkrzw::Status::NOT_FOUND_ERROR) {
        return false;
    }
    Need(status);
    *value = self->value.data();
    *size = self->value.size();
    return true;
}

void Put(void *context, uint64_t key, const void *value, size_t size) {
    Need(static_cast<Store *>(context)->dbm.Set(
        Name(key), std::string_view(static_cast<const char *>(value), size)));
}

void Sync(void *context) {
    Need(static_cast<Store *>(context)->dbm.Synchronize(true));
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
