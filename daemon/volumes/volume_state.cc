// SPDX-License-Identifier: MIT
#include "daemon/volumes/volume_state.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/webc/parse_json.h"

namespace pkgfs {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr std::size_t kMostBytes = 64U << 20U;

VolumeRecord record_from(const OrderedJson& json) {
  VolumeRecord record;
  record.name = json.at("name").get<std::string>();
  check_volume_name(record.name);  // it becomes a path
  record.options = json.at("options").get<DriverOptions>();
  record.created = json.at("created").get<std::string>();
  record.prepared = json.at("prepared").get<bool>();
  record.ids = json.at("ids").get<std::set<std::string>>();
  return record;
}

}  // namespace

void save_volume_state(const std::string& path, const VolumeState& state) {
  OrderedJson volumes = OrderedJson::array();
  for (const VolumeRecord& record : state.volumes) {
    volumes.push_back({{"name", record.name},
                       {"options", record.options},
                       {"created", record.created},
                       {"prepared", record.prepared},
                       {"ids", record.ids}});
  }
  const OrderedJson document{{"version", kVersion}, {"boot", state.boot}, {"volumes", std::move(volumes)}};
  write_file_atomically(path, document.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n",
                        Durability::kSynced);
  sync_directory(std::filesystem::path(path).parent_path());
}

std::string set_aside(const std::string& path) {
  std::string aside = path + ".damaged";
  if (std::rename(path.c_str(), aside.c_str()) != 0) {
    throw system_error("Unable to rename the damaged file \"" + path + "\"", errno);
  }
  return aside;
}

VolumeState load_volume_state(const std::string& path) {
  const auto text = read_small_file(path, kMostBytes);
  VolumeState state;
  if (!text) {
    return state;
  }
  const auto what = [&] { return "Unable to use the volumes in \"" + path + "\""; };
  try {
    const OrderedJson document = webc::parse_json(*text);
    if (const int version = document.at("version").get<int>(); version > kVersion) {
      throw Error(ErrorCode::kUnsupported,
                  {what(), "a newer pkgfs wrote them (version " + std::to_string(version) + ")"});
    }
    state.boot = document.at("boot").get<std::string>();
    for (const OrderedJson& volume : document.at("volumes")) {
      state.volumes.push_back(record_from(volume));
    }
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorCode::kCorrupt, {what(), error.what()});
  } catch (Error& error) {
    if (error.code() == ErrorCode::kUnsupported) {
      throw;
    }
    throw Error(ErrorCode::kCorrupt, {what(), error.message()});
  }
  return state;
}

std::string current_boot() {
  constexpr std::size_t kMost = 256;
  try {
    std::string id = read_small_file("/proc/sys/kernel/random/boot_id", kMost).value_or("");
    while (id.ends_with('\n')) {
      id.pop_back();
    }
    return id;
  } catch (const Error&) {
    return {};
  }
}

}  // namespace pkgfs
