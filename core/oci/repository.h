// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/base/hash.h"
#include "core/net/http_message.h"
#include "core/oci/manifest.h"
#include "core/oci/reference.h"

namespace pkgfs {
class HttpClient;
}

namespace pkgfs::oci {

/// What `Repository::push_blob` did.
enum class Pushed {
  kKnown,    // nothing: the repository has the blob
  kMounted,  // the registry took it from another repository of its own
  kSent,
};

/// One repository of an OCI registry, as the OCI distribution-spec 1.1 describes its API. Requests go over https. A
/// registry on this machine may be without https: the first request finds out. All functions throw Error that names the
/// repository, and Error(kInterrupted). Not thread-safe.
class Repository {
 public:
  /// `client` logs in by its authorizer (Authorizer::add). `client` and `cancel` must outlive this.
  Repository(Reference reference, HttpClient& client, const CancelFlag& cancel)
      : reference_(std::move(reference)), client_(client), cancel_(cancel) {}

  [[nodiscard]] const Reference& reference() const { return reference_; }
  /// Whether the registry has https. Asks it if it is on this machine.
  [[nodiscard]] bool is_https();
  /// Whether a request has found out how to reach the registry.
  [[nodiscard]] bool is_reached() const { return scheme_.has_value(); }
  /// The URL of the blob with this hash.
  [[nodiscard]] Url blob_url(const Sha256& digest);

  struct Document {
    std::string text;
    Sha256 digest{};
  };
  /// The manifest that the reference names. Its hash is that of the reference, if there is one, and that which the
  /// registry states. Throws Error(kNotFound) if there is none.
  [[nodiscard]] Document manifest();
  /// A small blob, whose size and hash are checked.
  [[nodiscard]] std::string blob(const Descriptor& wanted);

  [[nodiscard]] bool has_blob(const Sha256& digest);
  /// Sends a blob, unless the repository has it. The body is `upload`, or else `text`. After a lost connection or a
  /// busy server, tries again as the client's retry policy says, each time from the first byte on.
  ///
  /// `from`: another repository of this registry, which may have the blob; empty: none is known. The registry is asked
  /// once to take the blob from there (OCI distribution-spec 1.1, "Mounting a blob from another repository"). It may
  /// always decline, and then the blob is sent. So it is if that request fails, or leads to no blob. After a failed
  /// login or a time-out, the registry isn't asked to take other blobs.
  Pushed push_blob(const Sha256& digest, const std::string& text, const std::optional<HttpUpload>& upload,
                   const std::string& from = {});
  /// Stores a manifest under the tag of the reference, unless the tag is at it already. Returns whether it was sent.
  bool push_manifest(const std::string& text);

 private:
  [[nodiscard]] HttpRequest request(HttpRequest::Method method, const std::string& path);
  /// The error for an answer that isn't a success.
  [[nodiscard]] Error refused(const HttpResponse& response, const std::string& what) const;
  using Clock = std::chrono::steady_clock;
  /// The arguments of `push_blob`, and how far it is.
  struct Push {
    const Sha256& digest;
    const std::string& text;
    const std::optional<HttpUpload>& upload;
    std::string from;  // empty also after the registry was asked
    std::optional<Clock::time_point> deadline;
    Pushed attempted = Pushed::kKnown;                 // what is done if the blob is there although no answer said so
    std::optional<HttpResponse> begun = std::nullopt;  // the answer that began an upload instead of taking the blob
  };
  /// Asks the registry to take the blob from its repository `from`. Returns whether this repository has it then.
  [[nodiscard]] bool mount_blob(Push& push, const std::string& from);
  /// One attempt of `push_blob`. Returns an answer with a transient status, if there is one.
  [[nodiscard]] std::optional<HttpResponse> send_blob(Push& push);
  [[nodiscard]] HttpResponse begin_upload(const Push& push, const std::string& query);
  /// Where a blob is to be sent: the location that the registry gave, with the digest.
  [[nodiscard]] Url upload_url(const HttpResponse& begun, const Sha256& digest);

  Reference reference_;
  HttpClient& client_;
  const CancelFlag& cancel_;
  std::optional<std::string> scheme_;  // once it is known
  bool may_mount_ = true;              // see `push_blob`
};

}  // namespace pkgfs::oci
