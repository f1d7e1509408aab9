// SHA-256 of several messages at once. Within one message each round waits for the one before; the
// processor's SHA instructions do half as much again with two messages in turn, and three quarters
// more with three. Where it has none, this is sha256() of each. Any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/id.h"

namespace davit::crypto {

// ids[i] becomes the hash of messages[i].
void sha256_each(std::span<const base::ByteView> messages, std::span<base::Id> ids);

// A long message that is hashed bit by bit beside shorter ones. One thread at a time.
class Sha256Beside {
 public:
  // The message is borrowed until finish().
  explicit Sha256Beside(base::ByteView message);
  ~Sha256Beside();

  // As sha256_each(), and of the long message as much as comes along with little more time.
  void hash_each(std::span<const base::ByteView> others, std::span<base::Id> ids);
  // Hashes what is left. The last call.
  base::Id finish();

 private:
  struct Lane;
  const base::ByteView message_;
  std::unique_ptr<Lane> lane_;  // null where whole messages are hashed one by one
};

// A message that arrives in parts, hashed beside others of its kind. One thread at a time.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();

  void update(base::ByteView more);
  // The streams are different ones; streams[i] takes parts[i].
  static void update_each(std::span<Sha256Stream* const> streams,
                          std::span<const base::ByteView> parts);
  // The last call.
  base::Id finish();

 private:
  struct Lane;
  struct Plain;
  // One of them, the other is null: see Sha256Beside.
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<Plain> plain_;
};

}  // namespace davit::crypto
