/** Accounts as JSON. Adding a column to users never adds a field here by itself. */
import type { User } from "../../../db/models/User.js";

/** For everybody, once the profile is public. */
export const presentProfile = (user: User) => ({
  id: user.id,
  username: user.username,
  displayName: user.displayName,
  bio: user.bio,
  avatarUrl: user.avatarUrl,
  country: user.country,
  timeZone: user.timeZone,
  profileVisibility: user.profileVisibility,
  historyVisibility: user.historyVisibility,
  createdAt: user.createdAt.toISOString(),
  updatedAt: user.updatedAt.toISOString(),
});

/** For the owner. */
export const presentUser = (user: User) => ({
  ...presentProfile(user),
  email: user.email,
  role: user.role,
});
