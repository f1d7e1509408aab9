// The control API as a handler of the HTTP server.
#pragma once

#include "control/control_api.h"
#include "http/message.h"

namespace davit::control {

// `api` is borrowed. Give the server a long send_deadline: a listing may wait behind a pager.
http::Handler make_handler(ControlApi& api);

}  // namespace davit::control
