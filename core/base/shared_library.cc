// SPDX-License-Identifier: MIT
#include "core/base/shared_library.h"

#include <dlfcn.h>

#include <utility>
#include <vector>

namespace pkgfs {
namespace {

/// Appends the text of the dynamic linker, which names the file.
[[noreturn]] void throw_linker_error(std::vector<std::string> chain) {
  if (const char* text = ::dlerror(); text != nullptr) {  // NOLINT(concurrency-mt-unsafe): glibc's is a thread's own
    chain.emplace_back(text);
  }
  throw Error(ErrorCode::kUnsupported, std::move(chain));
}

}  // namespace

SharedLibrary::SharedLibrary(std::string file, const std::string& purpose, const std::string& debian_package)
    : file_(std::move(file)), handle_(::dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) {
    throw_linker_error({"Unable to load " + file_ + ", which is needed " + purpose + "; Debian has it in the package " +
                        debian_package});
  }
}

void* SharedLibrary::symbol(const char* name) const {
  void* const found = ::dlsym(handle_, name);
  if (found == nullptr) {
    throw_linker_error({"The library " + file_ + " is too old, or another library of this name"});
  }
  return found;
}

}  // namespace pkgfs
