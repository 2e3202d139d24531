// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "core/base/cancel.h"
#include "core/base/thread_annotations.h"
#include "daemon/csi/attributes.h"
#include "daemon/volumes/own_command.h"

namespace pkgfs::csi {

/// The volumes that the controller has made. A volume is a package whose version is chosen: all pods that use it see
/// the same files, on every node and after every restart. The volume's context carries the choice to the nodes. So the
/// state file is needed only to answer the same request in the same way again. Thread-safe.
class PackagePins {
 public:
  struct Pin {
    StringMap parameters;       // as they were given
    std::int64_t capacity = 0;  // that was asked for: a package has the size that it has
    StringMap context;          // for NodePublishVolume
  };

  /// Reads the state file at `path`. A damaged one is renamed. Throws Error.
  PackagePins(std::string path, AttributePolicy policy, OwnProgram program, std::chrono::milliseconds wait);

  /// Resolves the package of `parameters`, unless the volume exists. Throws Error, or Refusal(ALREADY_EXISTS) if it
  /// exists with other parameters or another capacity.
  Pin create(const std::string& name, const StringMap& parameters, const StringMap& secrets, std::int64_t capacity,
             std::int64_t limit);
  void remove(const std::string& name);
  /// Ends resolutions that run, with an error. Call it before the threads that make requests are joined.
  void stop() noexcept { stopping_.cancel(); }
  [[nodiscard]] bool exists(const std::string& name);

 private:
  [[nodiscard]] StringMap resolve(const StringMap& parameters, const StringMap& secrets) const;
  void load();
  void save() PKGFS_REQUIRES(mutex_);

  const std::string path_;
  const AttributePolicy policy_;
  const OwnProgram program_;
  const std::chrono::milliseconds wait_;
  CancelFlag stopping_;
  Mutex mutex_;
  std::map<std::string, Pin> pins_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs::csi
