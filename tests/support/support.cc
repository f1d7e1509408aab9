#include "support/fake_clock.h"
#include "support/temp_dir.h"
