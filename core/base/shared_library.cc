// SPDX-License-Identifier: MIT
#include "core/base/shared_library.h"

#include <dlfcn.h>

#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/system_limits.h"

namespace pkgfs {
namespace {

/// The errno of the limit that `text`, of the dynamic linker, is about; 0: it says something else.
int limit_in(std::string_view text) {
  for (const int limit : {EMFILE, ENFILE, ENOMEM}) {
    if (text.ends_with(std::generic_category().message(limit))) {
      return limit;
    }
  }
  return text.ends_with("failed to map segment from shared object") && has_memory_limit() ? ENOMEM : 0;
}

/// Appends the text of the dynamic linker, which names the file.
[[noreturn]] void throw_linker_error(std::vector<std::string> chain) {
  if (const char* text = ::dlerror(); text != nullptr) {  // NOLINT(concurrency-mt-unsafe): glibc's is a thread's own
    chain.emplace_back(text);
  }
  throw Error(ErrorCode::kUnsupported, std::move(chain));
}

}  // namespace

// RTLD_LAZY: of the functions that libcurl's libraries call, a run needs few. To find all of them takes a millisecond.
SharedLibrary::SharedLibrary(std::string file, const std::string& purpose, const std::string& debian_package)
    : file_(std::move(file)), handle_(::dlopen(file_.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
  if (handle_ != nullptr) {
    return;
  }
  const std::string what = "Unable to load " + file_ + ", which is needed " + purpose;
  const char* const text = ::dlerror();  // NOLINT(concurrency-mt-unsafe): glibc's is a thread's own
  const std::string said = text == nullptr ? "" : text;
  if (const int limit = limit_in(said); limit != 0) {
    throw system_error(what, limit);
  }
  throw Error(ErrorCode::kUnsupported, {what + "; Debian has it in the package " + debian_package, said});
}

void* SharedLibrary::symbol(const char* name) const {
  void* const found = ::dlsym(handle_, name);
  if (found == nullptr) {
    throw_linker_error({"The library " + file_ + " is too old, or another library of this name"});
  }
  return found;
}

}  // namespace pkgfs
