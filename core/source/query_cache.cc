// SPDX-License-Identifier: MIT
#include "core/source/query_cache.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/source/graphql.h"
#include "core/webc/json_fields.h"

namespace pkgfs {
namespace {

std::string flat(std::string_view full_name) {
  std::string name(full_name);
  std::replace(name.begin(), name.end(), '/', '#');
  return name;
}

}  // namespace

std::optional<QueryCache::Entry> QueryCache::find(std::string_view full_name) const {
  if (auto entry = read(directory_ + "/" + flat(full_name), full_name, true)) {
    return entry;
  }
  for (const std::string& directory : others_) {
    const std::filesystem::path here = directory;
    for (const std::string& name : {flat(full_name), std::string(full_name)}) {
      if (auto entry = read(here / name, full_name, false)) {
        return entry;
      }
    }
  }
  return std::nullopt;
}

std::optional<QueryCache::Entry> QueryCache::read(const std::string& path, std::string_view full_name,
                                                  bool is_ours) const {
  try {
    const auto text = read_small_file(path, limits::kAnswerBytes);
    if (!text) {
      return std::nullopt;
    }
    webc::Json document = webc::parse_json(*text);
    webc::expect_map(document, "");
    const std::string& name = webc::expect_text(webc::required(document, "package_name", ""), "package_name");
    if (name != full_name) {
      throw Error(ErrorCode::kCorrupt, "The cached response at \"" + path + "\" corresponds to the \"" + name +
                                           "\" package, but expected \"" + std::string(full_name) + "\"");
    }
    const std::uint64_t written =
        webc::expect_unsigned(webc::required(document, "unix_timestamp", ""), "unix_timestamp");
    const auto now = static_cast<std::uint64_t>(std::time(nullptr));
    Entry entry{webc::required(document, "response", ""), std::nullopt};
    if (written <= now) {
      entry.age = std::chrono::seconds(now - written);
    }
    graphql::check_published(entry.response);
    return entry;
  } catch (const Error& error) {
    log::warn("An unexpected error occurred while checking the local query cache: \"{}\": {}", path, error.what());
    if (is_ours && (error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kNetwork)) {
      ::unlink(path.c_str());
    }
    return std::nullopt;
  }
}

void QueryCache::store(std::string_view full_name, const webc::Json& response) const {
  webc::Json document = webc::Json::object();
  document["unix_timestamp"] = static_cast<std::uint64_t>(std::time(nullptr));
  document["package_name"] = full_name;
  document["response"] = webc::Json{{"data", response.at("data")}};
  try {
    make_private_directory(directory_);
    write_file_atomically(directory_ + "/" + flat(full_name),
                          document.dump(2, ' ', false, webc::Json::error_handler_t::replace), Durability::kUnsynced);
  } catch (const Error& error) {
    log::warn("An error occurred while caching the GraphQL response: {}", error.what());
  }
}

std::string age_text(std::optional<std::chrono::seconds> age) {
  if (!age) {
    return "an unknown time";
  }
  struct Unit {
    long seconds;
    const char* name;
  };
  constexpr std::array<Unit, 4> kUnits{{{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}}};
  for (const Unit& unit : kUnits) {
    const long count = age->count() / unit.seconds;
    if (count > 0) {
      return std::to_string(count) + " " + unit.name + (count == 1 ? "" : "s");
    }
  }
  return "less than a second";
}

}  // namespace pkgfs
