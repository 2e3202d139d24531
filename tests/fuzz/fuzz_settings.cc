// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string>

#include "core/net/url.h"
#include "daemon/cli/settings.h"
#include "tests/support/fixtures.h"

using namespace pkgfs;

static Settings settings_of(const std::string& variables) try {
  return load_settings({}, [&](const std::string& name) -> std::optional<std::string> {
    const std::size_t at = variables.find("\n" + name + "=");
    const std::size_t value = at + name.size() + 2;
    return at == variables.npos ? std::nullopt
                                : std::optional(variables.substr(value, variables.find('\n', value) - value));
  });
} catch (const Error&) {
  return {};
}

/// `NAME=VALUE` lines, the environment; an empty line; Wasmer's wasmer.toml. The settings are refused, or every
/// registry has a usable address. No line of `pkgfs config` shows a token.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const test::TempDir directory;
  const std::string text = "\n" + std::string(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(text.find("\n\n"), text.size());
  directory.write("wasmer.toml", std::string_view(text).substr(std::min(end + 2, text.size())));
  const Settings settings = settings_of("\nWASMER_DIR=" + directory.path().string() + text.substr(0, end) + "\n");
  for (const RemoteRegistry& registry : settings.registries) {
    (void)Url::parse(registry.endpoint);  // nothing catches what it throws
  }
  for (const Settings::Row& row : settings.rows) {
    if (row.name == "token" && row.value != "(none)" && row.value != "(set, not shown)") {
      std::abort();
    }
  }
  return 0;
}
