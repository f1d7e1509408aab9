// What every store over HTTP keeps to when its caller is told to stop while the server is silent.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>
#include <thread>

#include "base/errors.h"
#include "base/patience.h"
#include "store/store.h"
#include "support/raw_server.h"

namespace davit::store {

// `store_at(server)` is a store on that server.
template <typename StoreAt>
void expect_ends_where_told_to(StoreAt store_at) {
  using test::RawServer;
  std::stop_source stop;
  const RawServer server([&](RawServer::Connection& connection) {
    for (RawServer::Request request; connection.read(request);) {
      stop.request_stop();
      if (request.line.find("/locks/") == request.line.npos) return connection.wait_for_end();
      // Time for who ends at the stop to end; who waits as it should passes however long this is.
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      connection.answer(200, "");
    }
  });
  auto store = store_at(server);
  {
    const base::PatienceScope patience({std::chrono::seconds(1), stop.get_token()});
    EXPECT_THROW(store.get({Kind::index, {}}, 100), base::Cancelled);
  }
  // Whether a lock is there has to be known, so that it can be removed.
  stop = std::stop_source();
  const base::PatienceScope patience({std::chrono::seconds(1), stop.get_token()});
  EXPECT_NO_THROW(store.put({Kind::lock, {}}, base::as_bytes("lock")));
}

}  // namespace davit::store
