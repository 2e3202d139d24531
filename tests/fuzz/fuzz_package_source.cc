// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "core/base/error.h"
#include "core/package/package_info.h"

/// Specifiers, versions and requirements: names are harmless, the rest prints in a form that means the same.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  bool good = true;
  try {
    const PackageSource source = PackageSource::parse(text);
    if (source.named() != nullptr) {
      const std::string name = source.named()->full_name();
      good =
          std::none_of(name.begin(), name.end(), [](char c) { return c == '"' || c == '\\' || (c >= 0 && c < ' '); });
    } else if (source.path() == nullptr) {
      good = PackageSource::parse(source.to_string()) == source;
    }
  } catch (const Error&) {  // refused
  }
  const auto version = Version::try_parse(text);
  const auto wanted = VersionReq::try_parse(text);
  good = good && (!version || version->to_string() == text) &&
         (!wanted || VersionReq::parse(wanted->to_string()) == *wanted);
  if (!good || sanitize_path(text).front() != '/') {
    std::abort();
  }
  return 0;
}
