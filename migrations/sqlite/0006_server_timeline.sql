-- PostgreSQL alone: an embedded store has no server that another could replace.
SELECT 1;
