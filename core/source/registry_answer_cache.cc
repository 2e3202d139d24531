// SPDX-License-Identifier: MIT
#include "core/source/registry_answer_cache.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/source/graphql.h"
#include "core/webc/json_fields.h"
#include "core/webc/json_writer.h"
#include "core/webc/parse_json.h"

namespace pkgfs {
namespace {

std::string flat(std::string_view full_name) {
  std::string name(full_name);
  std::replace(name.begin(), name.end(), '/', '#');
  return name;
}

}  // namespace

std::optional<RegistryAnswerCache::Entry> RegistryAnswerCache::find(std::string_view full_name) const {
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

std::optional<RegistryAnswerCache::Entry> RegistryAnswerCache::read(const std::string& path, std::string_view full_name,
                                                                    bool is_ours) const {
  try {
    const auto text = read_own_file(path, limits::kAnswerBytes);
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
    static_cast<void>(webc::required(document, "response", ""));
    Entry entry{std::move(*webc::member(document, "response")), std::nullopt};
    if (written <= now) {
      entry.age = std::chrono::seconds(now - written);
    }
    graphql::check_published(entry.response, full_name);
    return entry;
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    const std::string directory = std::filesystem::path(path).parent_path();
    if (error.code() == ErrorCode::kPermission && ::access(directory.c_str(), X_OK) != 0) {
      log::info("the answers in \"{}\" can't be read: {}", directory, error);
      return std::nullopt;  // for example the home directory of another user
    }
    log::warn("An unexpected error occurred while checking the local query cache: \"{}\": {}", path, error);
    if (is_ours && (error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kNetwork)) {
      ::unlink(path.c_str());
    }
    return std::nullopt;
  }
}

void RegistryAnswerCache::store(std::string_view full_name, const webc::Json& response) const {
  try {
    static_cast<void>(PrivateDirectory::make(directory_));  // no link that another user put there is followed
  } catch (const Error& error) {
    log::info("the answer about \"{}\" isn't kept: {}", full_name, error);  // a download says what to do
    return;
  }
  if (::access(directory_.c_str(), W_OK) != 0) {
    log::info("the answer about \"{}\" isn't kept: \"{}\" can't be written", full_name, directory_);
    return;
  }
  std::ostringstream text;
  webc::JsonWriter writer(text, webc::JsonWriter::kOrdered);
  const auto data = [&] { writer.value(response.at("data")); };
  writer.object({{"unix_timestamp", [&] { writer.value(webc::Json(std::time(nullptr))); }},
                 {"package_name", [&] { writer.text(full_name); }},
                 {"response", [&] { writer.object({{"data", data}}); }}});
  try {
    write_file_atomically(directory_ + "/" + flat(full_name), std::move(text).str(), Durability::kUnsynced);
  } catch (const Error& error) {
    log::warn("An error occurred while caching the GraphQL response: {}", error);
  }
}

}  // namespace pkgfs
