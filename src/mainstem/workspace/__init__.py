"""One folder that holds everything a team's migration needs: settings, log, models, evidence."""
