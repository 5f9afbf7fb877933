select eventsourcing.create_committing('append');
