"""What each agent needs so that it uses awfproxy: facts, as functions of where awfproxy is."""
