// Half a restore of a container, taken back by what its entry in the journal says.
//
// An engine goes on with what it was asked: Docker asks a plugin that died again for half a minute,
// and makes the container then. Undone in between, the container would come without its network,
// and a new empty volume with it. So what was asked and not answered is waited for first.
#pragma once

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/restore_journal.h"
#include "jobs/volume_work.h"

namespace davit::jobs {

// Takes back what the entry says, as far as it is there and is of that restore, and removes the
// entry. An image that the engine may still be loading leaves an entry that is `undone` for it. May
// be repeated. Throws IoError where the engine or the repository cannot be used now.
void undo_container_restore(Context& context, const RestoreEntry& entry, const VolumeWork& volumes,
                            Job& job);

// Takes away the images that came after their restore was undone, and removes entries of which no
// image will come any more. For a look now and then. Throws what the engine does.
void remove_late_images(Context& context, std::stop_token stop);

// Such an image is another's now: it is left alone, whenever it comes.
void forget_late_images(const Context& context, const std::string& image);

// Whether the journal names another restore, still under way, that loads the entry's image.
bool is_loaded_by_another(const Context& context, const RestoreEntry& entry);

}  // namespace davit::jobs
