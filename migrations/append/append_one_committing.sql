select eventsourcing.create_committing('append_one');
