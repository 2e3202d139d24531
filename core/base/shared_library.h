// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/error.h"

namespace pkgfs {

/// A shared library of the system. The constructor loads it, and it stays loaded until the process ends. pkgfs loads a
/// large library only when it first needs it. To load it together with the program would take most of the time of a
/// short run, because it needs other libraries.
class SharedLibrary {
 public:
  /// Loads `file` ("libz.so.1") from the directories of the dynamic linker. Throws Error(kUnsupported) that names the
  /// file, `purpose` ("to download") and the Debian package that has the file ("zlib1g").
  SharedLibrary(std::string file, const std::string& purpose, const std::string& debian_package);

  /// Sets `function` to the function `name` of the library. Throws Error(kUnsupported) if the library has no such
  /// function.
  template <typename Function>
  void bind(Function*& function, const char* name) const {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): dlsym's interface
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  [[nodiscard]] void* symbol(const char* name) const;

  std::string file_;
  void* handle_;
};

}  // namespace pkgfs
