// SPDX-License-Identifier: MIT
#include "tests/net/net.h"

#include <algorithm>

#include "core/base/hash.h"

namespace pkgfs::test {

namespace fs = std::filesystem;

std::vector<std::pair<std::string, std::string>> NetTest::environment() const {
  return {{"HOME", home_.path()}, {"WASMER_DIR", ""}, {"WASMER_CACHE_DIR", ""},    {"WASMER_REGISTRY", ""},
          {"WASMER_TOKEN", ""},   {"http_proxy", ""}, {"https_proxy", ""},         {"all_proxy", ""},
          {"SSL_CERT_FILE", ""},  {"ALL_PROXY", ""},  {"WASMER_WEBC_VERSION", ""}, {"HTTPS_PROXY", ""},
          {"XDG_CACHE_HOME", ""}, {"no_proxy", ""}};
}

ProcessResult NetTest::pkgfs(Arguments arguments, std::vector<std::pair<std::string, std::string>> more,
                             std::chrono::milliseconds timeout) const {
  arguments.insert(arguments.begin(), kPkgfs);
  auto all = environment();
  for (auto& [name, value] : more) {
    std::erase_if(all, [&](const auto& other) { return other.first == name; });
    all.emplace_back(name, value);
  }
  return run(arguments, {.timeout = timeout, .environment = all});
}

std::vector<std::string> NetTest::litter() const {
  std::vector<std::string> found;
  std::error_code none;
  for (fs::recursive_directory_iterator each(cache(), none), end; each != end; each.increment(none)) {
    if (!each->is_regular_file()) {
      continue;
    }
    const fs::path relative = each->path().lexically_relative(cache());
    const std::string name = each->path().filename();
    const bool is_query = *relative.begin() == "queries" && name.find(".json.") == std::string::npos;
    const bool is_entry = each->path().parent_path() == checkouts() && each->path().extension() == ".bin" &&
                          to_hex(sha256(read_text(each->path()))) == each->path().stem().string();
    const bool is_profile = each->path().parent_path() == checkouts() && each->path().extension() == ".profile";
    const bool is_url = *relative.begin() == "downloads" && each->path().parent_path().filename() == "downloads";
    if (!is_query && !is_entry && !is_profile && !is_url) {
      found.push_back(relative);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::size_t count_graphql(const TestRegistry& registry) {
  const auto all = registry.requests();
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const auto& r) { return r.is_graphql(); }));
}

std::size_t count_files(const TestRegistry& registry) {
  const auto all = registry.requests();
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const auto& r) { return r.is_file(); }));
}

}  // namespace pkgfs::test
