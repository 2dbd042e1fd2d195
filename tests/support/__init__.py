"""What the outside tests stand on: the fastmesh process, peers that record everything, clients that send raw bytes."""
